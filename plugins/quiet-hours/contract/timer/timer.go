// Package timer is what the generated exports call; the package tidegate sets it.
package timer

import "rule/contract/types"

// Tick is called at the interval of the route.
var Tick = func(nowMs uint64) []types.Output { return nil }
