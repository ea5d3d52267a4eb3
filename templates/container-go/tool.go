// The tools of the plugin: functions from inputs to outputs. What a client sees of them is in plugin.yaml.

package main

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Inputs are the values of a call's parameters by name.
type Inputs map[string]any

var tools = map[string]func(Inputs) (map[string]any, error){"count_words": countWords}

func countWords(inputs Inputs) (map[string]any, error) {
	text, ok := inputs["text"].(string)
	if !ok {
		return nil, errors.New("text is missing")
	}
	lines := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1
	if text == "" {
		lines = 0
	}
	return map[string]any{
		"words":      len(strings.Fields(text)),
		"lines":      lines,
		"characters": utf8.RuneCountInString(text),
	}, nil
}
