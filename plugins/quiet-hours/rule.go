// Keeps what is not urgent quiet at night: it is dropped, goes somewhere else, or is marked.
package main

import (
	"rule/tidegate"
	"slices"
	"strconv"
)

const reason = "quiet hours"

func decide(message *tidegate.Message, config *Config) tidegate.Decision {
	if !config.isMeant(message.Topic) || !config.isQuiet(message.ReceivedMs()) || config.Urgent.has(message) {
		return tidegate.Pass()
	}
	switch {
	case config.target != "":
		return tidegate.Forward(tidegate.Target(config.target).UserProperty("reason", reason))
	case config.mark != "":
		return tidegate.Forward(tidegate.Onward().UserProperty(config.mark, "true"))
	}
	return tidegate.Drop(reason)
}

func (config *Config) isMeant(topic string) bool {
	return slices.ContainsFunc(config.Topics, func(filter string) bool { return matches(filter, topic) })
}

// has says whether the message is urgent. One that does not say so is not.
func (urgent *Urgent) has(message *tidegate.Message) bool {
	if urgent == nil {
		return false
	}
	said := urgent.said(message)
	if urgent.AtLeast == nil {
		return slices.Contains(urgent.Is, said)
	}
	number, err := strconv.ParseFloat(said, 64)
	return err == nil && number >= *urgent.AtLeast
}

// What is no text is taken as it is written: 8 and "8" are one.
func (urgent *Urgent) said(message *tidegate.Message) string {
	if urgent.UserProperty != "" {
		value, _ := message.UserProperty(urgent.UserProperty)
		return value
	}
	object := message.Object()
	if text, isText := object.Text(urgent.Field); isText {
		return text
	}
	return string(object.Raw(urgent.Field))
}

func init() {
	tidegate.Plugin(tidegate.Rule[Config]{
		Default:   Config{Topics: []string{"#"}, Action: "drop"},
		Configure: configure,
		Decide:    decide,
	})
}

func main() {}
