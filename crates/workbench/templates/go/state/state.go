// Package state is the plugin's durable state, for `world = "stateful"` and "stateful-timed" in plugin.toml. What a call writes takes
// effect together with its decisions, or not at all.
package state

import (
	"encoding/json"
	"rule/contract/state"
	"strconv"
	"unicode/utf8"
)

// Get is what is remembered under this key.
func Get(key string) (value []byte, found bool) {
	remembered := state.Get(checked(key))
	return remembered.SomeOr(nil), remembered.IsSome()
}

// Set remembers.
func Set(key string, value []byte) { state.Set(checked(key), value) }

// Delete forgets.
func Delete(key string) { state.Delete(checked(key)) }

// Keys are those that begin with this.
func Keys(prefix string) []string { return state.Keys(checked(prefix)) }

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

// What is not UTF-8 would end the instance, with all messages of the call.
func checked(key string) string {
	if !utf8.ValidString(key) {
		panic("a key of the state is not UTF-8: " + strconv.Quote(key))
	}
	return key
}
