// Package tidegate is what stands between a rule and the gateway's contract (wit/gateway.wit).
package tidegate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"rule/contract/handler"
	"rule/contract/log"
	"rule/contract/timer"
	"rule/contract/types"
	witRuntime "rule/contract/wit/runtime"
	wit "rule/contract/wit/types"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"unicode/utf8"

	_ "rule/contract/exports" // what the gateway calls
)

// Rule is a plugin: one function from a message to a decision, and perhaps others.
type Rule[Config any] struct {
	// Default is what the configuration says where it says nothing.
	Default Config
	// Configure checks the configuration; a Problem says where.
	Configure func(config *Config) error
	// Decide makes a decision of a message.
	Decide func(message *Message, config *Config) Decision
	// Tick is called at the interval of the route, where `world` in plugin.toml is "timed" or "stateful-timed".
	Tick func(nowMs uint64, config *Config) []*Output
}

// Plugin joins a rule to the contract; to be called in `init`.
func Plugin[Config any](rule Rule[Config]) {
	// The collector reads a clock, and that must not happen while the gateway hands over a message: a component may call nothing
	// then. So it runs only in collect, below.
	debug.SetGCPercent(-1)
	config := new(Config)
	handler.Configure = func(text string) types.Verdict {
		config = new(Config)
		*config = rule.Default
		if err := decode(text, config); err != nil {
			return refused(err)
		}
		if rule.Configure != nil {
			if err := rule.Configure(config); err != nil {
				return refused(err)
			}
		}
		return types.MakeVerdictAccepted()
	}
	handler.Handle = func(source string, messages []types.Message) []types.Decision {
		decisions := make([]types.Decision, len(messages))
		read := 0
		for at := range messages {
			came := &messages[at]
			decisions[at] = decide(rule.Decide, &Message{source: source, came: came, Topic: came.Topic, Payload: came.Payload}, config)
			// Trees of JSON are many times as large as their text.
			if read += len(came.Payload); read > collectAfterRead {
				collect()
				read = 0
			}
		}
		collect()
		return decisions
	}
	timer.Tick = func(nowMs uint64) []types.Output {
		var outputs []types.Output
		if rule.Tick != nil {
			outputs = list(rule.Tick(nowMs, config))
		}
		collect()
		return outputs
	}
}

// A panic costs its own message, and no start anew.
func decide[Config any](rule func(*Message, *Config) Decision, message *Message, config *Config) (decision types.Decision) {
	defer func() {
		if panicked := recover(); panicked != nil {
			Error(fmt.Sprintf("panic: %v\n%s", panicked, debug.Stack()))
			decision = types.MakeDecisionReject(cleaned(fmt.Sprintf("panic: %v", panicked)))
		}
	}()
	decision = types.Decision(rule(message, config))
	if decision == (types.Decision{}) {
		panic("decide returned no decision: return Pass(), Drop(why), Reject(why), Retry(why) or Forward(outputs...)")
	}
	return decision
}

const (
	collectAfter     = 4 << 20
	collectAfterRead = 128 << 10
)

var (
	allocated = []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	collected uint64
)

func collect() {
	// What the state answered is pinned until the next messages; where only the timer is called none come.
	witRuntime.Unpin()
	metrics.Read(allocated)
	if now := allocated[0].Value.Uint64(); now-collected > collectAfter {
		runtime.GC()
		collected = now
	}
}

// Message is a message as it came.
type Message struct {
	Topic   string
	Payload []byte
	source  string
	came    *types.Message
}

// Source is the broker that it came from.
func (message *Message) Source() string { return message.source }

// ID is below 2^53, and of no other message of this route.
func (message *Message) ID() uint64 { return message.came.Id }

// QoS is 0, 1 or 2.
func (message *Message) QoS() uint8 { return message.came.Qos }

// Retain is its retain flag.
func (message *Message) Retain() bool { return message.came.Retain }

// Redelivered says that it may have been decided before.
func (message *Message) Redelivered() bool { return message.came.Redelivered }

// ReceivedMs is when the gateway received it, since the Unix epoch.
func (message *Message) ReceivedMs() uint64 { return message.came.ReceivedMs }

// ContentType is empty where it has none.
func (message *Message) ContentType() string { return message.came.Properties.ContentType.SomeOr("") }

// ResponseTopic is empty where it has none.
func (message *Message) ResponseTopic() string {
	return message.came.Properties.ResponseTopic.SomeOr("")
}

// CorrelationData is nil where it has none.
func (message *Message) CorrelationData() []byte {
	return message.came.Properties.CorrelationData.SomeOr(nil)
}

// Expiry is in seconds, 0 where it has none.
func (message *Message) Expiry() uint32 {
	return message.came.Properties.MessageExpirySeconds.SomeOr(0)
}

// UserProperty is the first user property of this name.
func (message *Message) UserProperty(name string) (value string, found bool) {
	for _, property := range message.came.Properties.User {
		if property.F0 == name {
			return property.F1, true
		}
	}
	return "", false
}

// Text is the payload as text, and whether it is UTF-8.
func (message *Message) Text() (text string, isText bool) {
	return string(message.Payload), utf8.Valid(message.Payload)
}

// JSON is the payload as JSON, nil if it is none. Numbers are json.Number, so that none loses digits.
func (message *Message) JSON() any {
	if !utf8.Valid(message.Payload) {
		return nil
	}
	reader := json.NewDecoder(bytes.NewReader(message.Payload))
	reader.UseNumber()
	var value any
	if reader.Decode(&value) != nil {
		return nil
	}
	if _, err := reader.Token(); err != io.EOF {
		return nil
	}
	return value
}

// Decode reads the payload as JSON of the author's type.
func (message *Message) Decode(value any) error { return json.Unmarshal(message.Payload, value) }

// Number is a number out of JSON.
func Number(value any) (number float64, isNumber bool) {
	switch value := value.(type) {
	case json.Number:
		number, err := value.Float64()
		return number, err == nil
	case float64:
		return value, true
	}
	return 0, false
}

// Format is the shortest decimal text of a number; NaN and infinity are no JSON: a panic.
func Format(number float64) string {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		panic("NaN and infinity are no JSON")
	}
	return strconv.FormatFloat(number, 'f', -1, 64)
}

// Decision is what becomes of a message.
type Decision types.Decision

// Pass is onward, unchanged.
func Pass() Decision { return Decision(types.MakeDecisionPass()) }

// Drop is nowhere, for this reason; counted under it, so let there be few.
func Drop(reason string) Decision { return Decision(types.MakeDecisionDrop(cleaned(reason))) }

// Reject says that it will never be decided: the route's `on_failure`.
func Reject(reason string) Decision { return Decision(types.MakeDecisionReject(cleaned(reason))) }

// Retry says not now: try again later.
func Retry(reason string) Decision { return Decision(types.MakeDecisionRetry(cleaned(reason))) }

// Forward is each of these, in this order.
func Forward(outputs ...*Output) Decision {
	if len(outputs) == 0 {
		panic("Forward wants an output; Drop(why) is none")
	}
	return Decision(types.MakeDecisionForward(list(outputs)))
}

func list(outputs []*Output) []types.Output {
	made := make([]types.Output, len(outputs))
	for at, output := range outputs {
		if output == nil || output.made.To == (types.Destination{}) {
			panic("an output is made by Onward() or Target(name)")
		}
		made[at] = output.made
	}
	return made
}

// What the gateway takes is UTF-8; anything else would end the instance, with all messages of the call. In words for people `\uFFFD`
// stands in for it.
func cleaned(words string) string { return strings.ToValidUTF8(words, "\uFFFD") }

// In what goes out it is refused.
func checked(what, text string) string {
	if !utf8.ValidString(text) {
		panic(what + " is not UTF-8: " + strconv.Quote(text))
	}
	return text
}

// Output is the message that came in, but for the changes that are said.
type Output struct{ made types.Output }

// Onward is an output to the route's next plugin; after the last one, to the route's targets.
func Onward() *Output { return &Output{types.Output{To: types.MakeDestinationOnward()}} }

// Target is an output straight to this broker or target set, which must be granted.
func Target(name string) *Output {
	return &Output{types.Output{To: types.MakeDestinationTarget(checked("the target", name))}}
}

func (output *Output) change(change types.Change) *Output {
	output.made.Changes = append(output.made.Changes, change)
	return output
}

// Topic sets the topic.
func (output *Output) Topic(topic string) *Output {
	return output.change(types.MakeChangeTopic(checked("the topic", topic)))
}

// Payload sets the payload.
func (output *Output) Payload(payload []byte) *Output {
	return output.change(types.MakeChangePayload(payload))
}

// Text sets the payload.
func (output *Output) Text(text string) *Output { return output.Payload([]byte(text)) }

// JSON sets the payload; NaN and infinity are no JSON: a panic.
func (output *Output) JSON(value any) *Output { return output.Payload(marshal(value)) }

// Without the escapes that are for HTML.
func marshal(value any) []byte {
	var text bytes.Buffer
	writer := json.NewEncoder(&text)
	writer.SetEscapeHTML(false)
	if err := writer.Encode(value); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}

// QoS sets 0, 1 or 2.
func (output *Output) QoS(level uint8) *Output {
	if level > types.Qos_ExactlyOnce {
		panic("QoS is 0, 1 or 2")
	}
	return output.change(types.MakeChangeQos(level))
}

// Retain sets the retain flag.
func (output *Output) Retain(retained bool) *Output {
	return output.change(types.MakeChangeRetain(retained))
}

// ContentType sets the content type.
func (output *Output) ContentType(text string) *Output {
	return output.change(types.MakeChangeContentType(checked("the content type", text)))
}

// ResponseTopic sets the response topic.
func (output *Output) ResponseTopic(topic string) *Output {
	return output.change(types.MakeChangeResponseTopic(checked("the response topic", topic)))
}

// CorrelationData sets the correlation data.
func (output *Output) CorrelationData(data []byte) *Output {
	return output.change(types.MakeChangeCorrelationData(data))
}

// Expiry sets the message expiry, in seconds: at least 1.
func (output *Output) Expiry(seconds uint32) *Output {
	if seconds == 0 {
		panic("an expiry of 0 is a message that is gone: Drop(why)")
	}
	return output.change(types.MakeChangeMessageExpirySeconds(float64(seconds)))
}

// UserProperty adds one more, behind those that are there.
func (output *Output) UserProperty(name, value string) *Output {
	property := wit.Tuple2[string, string]{F0: checked("the user property's name", name), F1: checked("the user property", value)}
	return output.change(types.MakeChangeUserProperty(property))
}

// A Property is what Remove takes away.
type Property uint8

// What can be removed.
const (
	Every           = Property(types.Property_Every)
	ContentType     = Property(types.Property_ContentType)
	ResponseTopic   = Property(types.Property_ResponseTopic)
	CorrelationData = Property(types.Property_CorrelationData)
	MessageExpiry   = Property(types.Property_MessageExpiry)
	PayloadIsUTF8   = Property(types.Property_PayloadIsUtf8)
	User            = Property(types.Property_User)
)

// Remove leaves this property out.
func (output *Output) Remove(property Property) *Output {
	if property > User {
		panic("Remove wants one of the properties above")
	}
	return output.change(types.MakeChangeRemove(uint8(property)))
}

// Key is what a set of policy `balance` chooses its member by.
func (output *Output) Key(key string) *Output {
	return output.change(types.MakeChangeKey(checked("the key", key)))
}

// Debug is a line in the gateway's log.
func Debug(line string) { log.Log(log.Level_Debug, cleaned(line)) }

// Info is a line in the gateway's log.
func Info(line string) { log.Log(log.Level_Info, cleaned(line)) }

// Warn is a line in the gateway's log.
func Warn(line string) { log.Log(log.Level_Warn, cleaned(line)) }

// Error is a line in the gateway's log.
func Error(line string) { log.Log(log.Level_Error, cleaned(line)) }
