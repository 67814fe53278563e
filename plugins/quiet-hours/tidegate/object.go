package tidegate

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Object is a JSON object, read in place: no tree is built, and what is not changed stays as it was written, to the last digit.
type Object struct {
	text    []byte
	members []member
}

type member struct {
	name       string
	start, end int // of the value
}

// Object is the payload as a JSON object, nil if it is none; a nil Object has no members.
func (message *Message) Object() *Object { return ReadObject(message.Payload) }

// ReadObject is a text as a JSON object, nil if it is none or has more than 128 levels.
func ReadObject(text []byte) *Object {
	at := skipSpace(text, 0)
	if at == len(text) || text[at] != '{' || !utf8.Valid(text) || !json.Valid(text) || isDeep(text) {
		return nil
	}
	// It is valid, so nothing below runs beyond its end.
	object := &Object{text: text, members: make([]member, 0, 8)}
	for at = skipSpace(text, at+1); text[at] != '}'; {
		start := at
		at = skipText(text, at)
		name := text[start+1 : at-1]
		at = skipSpace(text, at)
		at = skipSpace(text, at+1) // behind the colon
		value := at
		at = skipValue(text, at)
		object.members = append(object.members, member{unquoted(text[start:value], name), value, at})
		if at = skipSpace(text, at); text[at] == ',' {
			at = skipSpace(text, at+1)
		}
	}
	return object
}

const maxLevels = 128

// Of a text that is valid.
func isDeep(text []byte) bool {
	for at, levels := 0, 0; at < len(text); at++ {
		switch text[at] {
		case '"':
			at = skipText(text, at) - 1
		case '[', '{':
			if levels++; levels > maxLevels {
				return true
			}
		case ']', '}':
			levels--
		}
	}
	return false
}

func unquoted(quoted, inside []byte) string {
	for _, char := range inside {
		if char == '\\' {
			var name string
			_ = json.Unmarshal(quoted[:len(inside)+2], &name) // it is valid
			return name
		}
	}
	return string(inside)
}

func (object *Object) find(name string) *member {
	if object != nil {
		for at := len(object.members) - 1; at >= 0; at-- { // of several the last one
			if object.members[at].name == name {
				return &object.members[at]
			}
		}
	}
	return nil
}

// Raw is the value of this name as it is written, nil if there is none.
func (object *Object) Raw(name string) []byte {
	if found := object.find(name); found != nil {
		return object.text[found.start:found.end]
	}
	return nil
}

// Number is the value of this name, and whether it is a number.
func (object *Object) Number(name string) (number float64, isNumber bool) {
	raw := object.Raw(name)
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	number, err := strconv.ParseFloat(string(raw), 64)
	return number, err == nil
}

// Text is the value of this name, and whether it is a text.
func (object *Object) Text(name string) (text string, isText bool) {
	raw := object.Raw(name)
	return text, len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil
}

// Decode reads the value of this name into the author's type.
func (object *Object) Decode(name string, value any) error {
	return json.Unmarshal(object.Raw(name), value)
}

// Set is a copy of the text in which the value of this name is this; it stands at the end if there was none. Of a nil Object: a panic.
func (object *Object) Set(name string, value any) []byte {
	if object == nil {
		panic("Set wants a JSON object, and the payload is none")
	}
	var written []byte
	if number, isNumber := value.(float64); isNumber {
		written = []byte(Format(number))
	} else {
		written = marshal(value)
	}
	if found := object.find(name); found != nil {
		return splice(object.text[:found.start], written, object.text[found.end:])
	}
	close := len(object.text) - 1
	for object.text[close] != '}' {
		close--
	}
	added := append(append(marshal(name), ':'), written...)
	if len(object.members) > 0 {
		added = append([]byte{','}, added...)
	}
	return splice(object.text[:close], added, object.text[close:])
}

func splice(before, between, behind []byte) []byte {
	made := make([]byte, 0, len(before)+len(between)+len(behind))
	return append(append(append(made, before...), between...), behind...)
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r') {
		at++
	}
	return at
}

// From a quote to behind the other one.
func skipText(text []byte, at int) int {
	for at++; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

func skipValue(text []byte, at int) int {
	switch text[at] {
	case '"':
		return skipText(text, at)
	case '{', '[':
		for depth := 0; ; {
			switch text[at] {
			case '"':
				at = skipText(text, at) - 1
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			at++
			if depth == 0 {
				return at
			}
		}
	}
	for text[at] != ',' && text[at] != '}' && text[at] > ' ' {
		at++
	}
	return at
}
