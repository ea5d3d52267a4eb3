// Tests of the tools and of the contract, without a container: go test ./...

package main

import (
	"encoding/json"
	"testing"
)

func TestContract(t *testing.T) {
	var good call
	text := `{"inputs": {"text": {"value": "two words", "args": {}}}, "context": {"tool": "count_words"}}`
	if err := json.Unmarshal([]byte(text), &good); err != nil {
		t.Fatal(err)
	}
	said := execute(good)
	outputs, _ := said["outputs"].(map[string]any)
	if outputs["words"] != 2 || outputs["lines"] != 1 || outputs["characters"] != 9 {
		t.Fatalf("%v", said)
	}
	if said := execute(call{}); said["success"] != false {
		t.Fatalf("%v", said)
	}
}
