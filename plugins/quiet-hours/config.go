package main

import (
	"fmt"
	"rule/tidegate"
	"strings"
	"time"
)

const (
	mostQuiet  = 64
	mostTopics = 256
	mostTexts  = 64
	// No place is further from UTC.
	mostOffsetMinutes = 14 * 60
)

// Config is the `config` table of the plugin; other keys are refused.
type Config struct {
	Zone   string   `json:"zone"`
	Quiet  []Window `json:"quiet"`
	Topics []string `json:"topics"`
	Urgent *Urgent  `json:"urgent"`
	// "drop", or one key and its text.
	Action any `json:"action"`

	location     *time.Location
	quiet        []Quiet
	target, mark string
}

// Window is one of `quiet`.
type Window struct {
	From string   `json:"from"`
	To   string   `json:"to"`
	Days []string `json:"days"`
}

// Urgent says which messages pass at any time.
type Urgent struct {
	Field        string   `json:"field"`
	UserProperty string   `json:"user_property"`
	AtLeast      *float64 `json:"at_least"`
	Is           []string `json:"is"`
}

var everyDay = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func configure(config *Config) (err error) {
	if config.location, err = locationOf(config.Zone); err != nil {
		return err
	}
	if len(config.Quiet) == 0 || len(config.Quiet) > mostQuiet {
		return tidegate.Problem{At: "quiet", Message: fmt.Sprintf(`from 1 to %d are needed, such as [{ from = "22:00", to = "06:30" }]`, mostQuiet)}
	}
	for at, window := range config.Quiet {
		quiet, err := window.checked(fmt.Sprintf("quiet[%d]", at))
		if err != nil {
			return err
		}
		config.quiet = append(config.quiet, quiet)
	}
	if len(config.Topics) == 0 || len(config.Topics) > mostTopics {
		return tidegate.Problem{At: "topics", Message: fmt.Sprintf(`from 1 to %d are needed; without the key it is all: ["#"]`, mostTopics)}
	}
	for at, filter := range config.Topics {
		if !isFilter(filter) {
			return tidegate.Problem{At: fmt.Sprintf("topics[%d]", at), Message: "must be a topic filter: `+` is a whole level, `#` the last one"}
		}
	}
	if config.Urgent != nil {
		if err := config.Urgent.check(); err != nil {
			return err
		}
	}
	return config.checkAction()
}

// The difference to UTC is for a zone whose rules have changed since this was built.
func locationOf(zone string) (*time.Location, error) {
	if zone != "" && (zone[0] == '+' || zone[0] == '-') {
		if minutes, isTime := minutesOf(zone[1:]); isTime && minutes <= mostOffsetMinutes {
			if zone[0] == '-' {
				minutes = -minutes
			}
			return time.FixedZone(zone, minutes*60), nil
		}
	} else if zone != "" && zone != "Local" { // to Go these are the clock of the machine, and a plugin has none
		if location, err := time.LoadLocation(zone); err == nil {
			return location, nil
		}
	}
	return nil, tidegate.Problem{At: "zone", Message: `must be a time zone such as "Europe/Vienna" (capitals count), "UTC", or the difference to UTC such as "+01:00"`}
}

func (window *Window) checked(at string) (quiet Quiet, err error) {
	if quiet.begin, err = minute(window.From, minutesOfDay-1, at+".from"); err != nil {
		return quiet, err
	}
	if quiet.end, err = minute(window.To, minutesOfDay, at+".to"); err != nil {
		return quiet, err
	}
	if quiet.begin == quiet.end {
		return quiet, tidegate.Problem{At: at + ".to", Message: `must be another time than from; a whole day is from "00:00" to "24:00"`}
	}
	days := window.Days
	if days == nil {
		days = everyDay
	}
	if len(days) == 0 {
		return quiet, tidegate.Problem{At: at + ".days", Message: "is empty; without the key it is every day"}
	}
	for index, name := range days {
		day := -1
		for number, known := range everyDay {
			if name == known {
				day = number
			}
		}
		if day < 0 {
			return quiet, tidegate.Problem{At: fmt.Sprintf("%s.days[%d]", at, index), Message: "must be one of " + strings.Join(everyDay, ", ")}
		}
		quiet.days[day] = true
	}
	return quiet, nil
}

func minute(text string, most int, at string) (int, error) {
	if minute, isTime := minutesOf(text); isTime && minute <= most {
		return minute, nil
	}
	return 0, tidegate.Problem{At: at, Message: fmt.Sprintf(`must be a time of day from "00:00" to "%02d:%02d"`, most/60, most%60)}
}

// Of two digits, a colon and two digits.
func minutesOf(text string) (minutes int, isTime bool) {
	if len(text) != len("00:00") || text[2] != ':' {
		return 0, false
	}
	for _, at := range []int{0, 1, 3, 4} {
		if text[at] < '0' || text[at] > '9' {
			return 0, false
		}
	}
	hour, minute := int(text[0]-'0')*10+int(text[1]-'0'), int(text[3]-'0')*10+int(text[4]-'0')
	return hour*60 + minute, minute < 60
}

func (urgent *Urgent) check() error {
	if (urgent.Field == "") == (urgent.UserProperty == "") {
		return tidegate.Problem{At: "urgent", Message: `one of them is needed: field = "priority" of the JSON payload, or user_property = "priority"`}
	}
	if (urgent.AtLeast == nil) == (urgent.Is == nil) {
		return tidegate.Problem{At: "urgent", Message: `one of them is needed: at_least = 8, or is = ["critical"]`}
	}
	if urgent.Is != nil && (len(urgent.Is) == 0 || len(urgent.Is) > mostTexts) {
		return tidegate.Problem{At: "urgent.is", Message: fmt.Sprintf("from 1 to %d texts are needed", mostTexts)}
	}
	return nil
}

func (config *Config) checkAction() error {
	if config.Action == "drop" {
		return nil
	}
	if table, isTable := config.Action.(map[string]any); isTable && len(table) == 1 {
		config.target, _ = table["target"].(string)
		config.mark, _ = table["mark"].(string)
		if config.target != "" || config.mark != "" {
			return nil
		}
	}
	return tidegate.Problem{At: "action", Message: `must be "drop", { target = "name" } or { mark = "name" }`}
}
