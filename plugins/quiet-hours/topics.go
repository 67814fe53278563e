package main

import "strings"

// isFilter says whether this is a topic filter of MQTT: `+` is a whole level, `#` the last one.
func isFilter(filter string) bool {
	if filter == "" || len(filter) > 65535 || strings.ContainsRune(filter, 0) {
		return false
	}
	for {
		level, rest, goesOn := strings.Cut(filter, "/")
		if strings.ContainsAny(level, "+#") && len(level) > 1 || level == "#" && goesOn {
			return false
		}
		if !goesOn {
			return true
		}
		filter = rest
	}
}

// matches says whether the filter has the topic. A wildcard in front has none that begins with `$`.
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	for {
		level, filterRest, filterGoesOn := strings.Cut(filter, "/")
		if level == "#" {
			return true
		}
		here, topicRest, topicGoesOn := strings.Cut(topic, "/")
		if level != "+" && level != here {
			return false
		}
		if !topicGoesOn {
			// `a/#` has `a` as well.
			return !filterGoesOn || filterRest == "#"
		}
		if !filterGoesOn {
			return false
		}
		filter, topic = filterRest, topicRest
	}
}
