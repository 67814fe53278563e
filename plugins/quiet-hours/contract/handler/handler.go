// Package handler is what the generated exports call; the package tidegate sets it.
package handler

import "rule/contract/types"

// Configure is called once, before any message.
var Configure func(config string) types.Verdict

// Handle decides a batch.
var Handle func(source string, messages []types.Message) []types.Decision
