package main

import (
	"time"
	_ "time/tzdata" // the time zones: a plugin sees no files
)

const minutesOfDay = 24 * 60

// Quiet is a part of the day, in minutes of the clock on the wall; where it ends before it begins, it goes on past midnight.
type Quiet struct {
	begin, end int
	// Of the day that it begins on.
	days [7]bool
}

// holds says whether it is this time in it. What is between `to` and midnight belongs to the day, what is behind midnight to the day before.
func (quiet *Quiet) holds(day time.Weekday, minute int) bool {
	if quiet.begin < quiet.end {
		return quiet.days[day] && quiet.begin <= minute && minute < quiet.end
	}
	return quiet.days[day] && minute >= quiet.begin || quiet.days[(day+6)%7] && minute < quiet.end
}

// isQuiet says whether the message came in quiet hours, by the clock of the zone.
func (config *Config) isQuiet(receivedMs uint64) bool {
	came := time.UnixMilli(int64(receivedMs)).In(config.location)
	day, minute := came.Weekday(), came.Hour()*60+came.Minute()
	for at := range config.quiet {
		if config.quiet[at].holds(day, minute) {
			return true
		}
	}
	return false
}
