package tidegate

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"rule/contract/types"
	"slices"
	"strings"
)

// Problem is an error of the configuration.
type Problem struct {
	// At is a path into it.
	At      string
	Message string
}

func (problem Problem) Error() string { return problem.Message }

func refused(err error) types.Verdict {
	var problem Problem
	if !errors.As(err, &problem) {
		problem.Message = err.Error()
	}
	return types.MakeVerdictRefused([]types.Diagnostic{{At: cleaned(problem.At), Message: cleaned(problem.Message)}})
}

// encoding/json takes a key in any case, and its errors do not say which one of a list it is, so all is looked at before.
func decode(text string, config any) error {
	var table any
	if err := json.Unmarshal([]byte(text), &table); err != nil {
		return err
	}
	if err := check(table, reflect.TypeOf(config), ""); err != nil {
		return err
	}
	err := json.Unmarshal([]byte(text), config)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return Problem{wrong.Field, "must be a " + wrong.Type.String() + ", not a " + wrong.Value}
	}
	return err
}

func check(value any, wanted reflect.Type, at string) error {
	for wanted.Kind() == reflect.Pointer && !readsItself(wanted) {
		wanted = wanted.Elem()
	}
	if readsItself(wanted) || readsItself(reflect.PointerTo(wanted)) || wanted == ofNumber {
		return nil
	}
	switch wanted.Kind() {
	case reflect.Struct:
		table, isTable := value.(map[string]any)
		if !isTable {
			return Problem{at, "must be a table"}
		}
		fields := fieldsOf(wanted)
		for _, key := range slices.Sorted(maps.Keys(table)) {
			field, isKnown := fields[key]
			if !isKnown {
				return Problem{below(at, key), "unknown key; there are " + strings.Join(slices.Sorted(maps.Keys(fields)), ", ")}
			}
			if err := check(table[key], field, below(at, key)); err != nil {
				return err
			}
		}
	case reflect.Map:
		table, isTable := value.(map[string]any)
		if !isTable {
			return Problem{at, "must be a table"}
		}
		for _, key := range slices.Sorted(maps.Keys(table)) {
			if err := check(table[key], wanted.Elem(), below(at, key)); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		if wanted.Kind() == reflect.Slice && wanted.Elem().Kind() == reflect.Uint8 {
			return nil // base64
		}
		list, isList := value.([]any)
		if !isList {
			return Problem{at, "must be a list"}
		}
		for index, one := range list {
			if err := check(one, wanted.Elem(), fmt.Sprintf("%s[%d]", at, index)); err != nil {
				return err
			}
		}
	case reflect.String:
		if _, isText := value.(string); !isText {
			return Problem{at, "must be a text"}
		}
	case reflect.Bool:
		if _, isBool := value.(bool); !isBool {
			return Problem{at, "must be true or false"}
		}
	case reflect.Float32, reflect.Float64:
		if _, isNumber := value.(float64); !isNumber {
			return Problem{at, "must be a number"}
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return whole(value, -math.Ldexp(1, wanted.Bits()-1), math.Ldexp(1, wanted.Bits()-1), at)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return whole(value, 0, math.Ldexp(1, wanted.Bits()), at)
	}
	return nil
}

func whole(value any, least, beyond float64, at string) error {
	number, isNumber := value.(float64)
	if !isNumber || number != math.Trunc(number) || number < least || number >= beyond {
		return Problem{at, fmt.Sprintf("must be a whole number, at least %.0f and below %.0f", least, beyond)}
	}
	return nil
}

var (
	ofJSON   = reflect.TypeFor[json.Unmarshaler]()
	ofNumber = reflect.TypeFor[json.Number]()
	ofText   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func readsItself(wanted reflect.Type) bool {
	return wanted.Implements(ofJSON) || wanted.Implements(ofText)
}

func fieldsOf(of reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for _, field := range reflect.VisibleFields(of) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		isEmbedded := field.Anonymous && name == ""
		if !field.IsExported() || isEmbedded || field.Tag.Get("json") == "-" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		fields[name] = field.Type
		if options == "string" { // a number in quotes
			fields[name] = reflect.TypeFor[any]()
		}
	}
	return fields
}

func below(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}
