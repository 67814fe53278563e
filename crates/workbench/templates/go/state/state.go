// Package state is the plugin's durable state, for `world = "stateful"` and "stateful-timed" in plugin.toml. What a call writes takes
// effect together with its decisions, or not at all.
package state

import (
	"encoding/json"
	"rule/contract/state"
)

// Get is what is remembered under this key.
func Get(key string) (value []byte, found bool) {
	remembered := state.Get(key)
	return remembered.SomeOr(nil), remembered.IsSome()
}

// Set remembers.
func Set(key string, value []byte) { state.Set(key, value) }

// Delete forgets.
func Delete(key string) { state.Delete(key) }

// Keys are those that begin with this.
func Keys(prefix string) []string { return state.Keys(prefix) }

// Read is what is remembered under this key as JSON of this type; found is false where there is none, or another.
func Read[Value any](key string) (value Value, found bool) {
	text, found := Get(key)
	return value, found && json.Unmarshal(text, &value) == nil
}

// Write remembers the value as JSON.
func Write[Value any](key string, value Value) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	Set(key, text)
}
