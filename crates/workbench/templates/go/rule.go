// Fahrenheit becomes Celsius; what is hotter than Above goes to the target `alarms` as well.
package main

import (
	"math"
	"rule/tidegate"
)

// Config is the `config` table of the plugin; other keys are refused.
type Config struct {
	Field string  `json:"field"`
	Above float64 `json:"above"`
}

// From a message to a decision: Pass(), Drop(why), Reject(why), Retry(why) or Forward(outputs...).
func decide(message *tidegate.Message, config *Config) tidegate.Decision {
	reading := message.Object()
	value, isNumber := reading.Number(config.Field)
	if !isNumber {
		return tidegate.Drop("no such field")
	}
	celsius := math.Floor((value-32)*50/9+0.5) / 10
	converted := tidegate.Onward().Payload(reading.Set(config.Field, celsius))
	if celsius <= config.Above {
		return tidegate.Forward(converted)
	}
	alarm := tidegate.Target("alarms").Topic("alarm/" + message.Topic).Text(tidegate.Format(celsius))
	return tidegate.Forward(converted, alarm.UserProperty("above", tidegate.Format(config.Above)))
}

func init() {
	tidegate.Plugin(tidegate.Rule[Config]{Default: Config{Field: "temp", Above: 50}, Decide: decide})
}

func main() {}
