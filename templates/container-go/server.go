// Serves the tools of tool.go by the container contract, with nothing but the standard library.
//
// Listens on the unix socket that PEGBOARD_SOCKET names, so that the container needs no network; without it on port PEGBOARD_PORT (8080).

package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

var calls, failures atomic.Int64

type call struct {
	Inputs map[string]struct {
		Value any `json:"value"`
	} `json:"inputs"`
	Context map[string]any `json:"context"`
}

// One call to `{"success": true, "outputs": {…}}` or `{"success": false, "error": "…"}`.
func execute(call call) map[string]any {
	calls.Add(1)
	outputs, err := run(call)
	if err != nil {
		failures.Add(1)
		return map[string]any{"success": false, "error": err.Error()}
	}
	return map[string]any{"success": true, "outputs": outputs}
}

func run(call call) (outputs map[string]any, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("%v", problem)
		}
	}()
	name, _ := call.Context["tool"].(string)
	tool, ok := tools[name]
	if !ok {
		return nil, fmt.Errorf("no tool %q", name)
	}
	inputs := Inputs{}
	for name, item := range call.Inputs {
		inputs[name] = item.Value
	}
	return tool(inputs)
}

func answer(writer http.ResponseWriter, status int, document any) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	if err := json.NewEncoder(writer).Encode(document); err != nil {
		log.Print(err)
	}
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(writer http.ResponseWriter, _ *http.Request) {
		answer(writer, http.StatusOK, map[string]string{"status": "healthy"})
	})
	mux.HandleFunc("/metrics", func(writer http.ResponseWriter, _ *http.Request) {
		answer(writer, http.StatusOK, map[string]int64{"calls": calls.Load(), "failures": failures.Load()})
	})
	mux.HandleFunc("/execute", func(writer http.ResponseWriter, request *http.Request) {
		var call call
		if err := json.NewDecoder(request.Body).Decode(&call); err != nil {
			answer(writer, http.StatusBadRequest, map[string]any{"success": false, "error": err.Error()})
			return
		}
		answer(writer, http.StatusOK, execute(call))
	})
	return mux
}

func listen() (net.Listener, error) {
	if path := os.Getenv("PEGBOARD_SOCKET"); path != "" {
		listener, err := net.Listen("unix", path)
		if err != nil {
			return nil, err
		}
		return listener, os.Chmod(path, 0o666)
	}
	port := os.Getenv("PEGBOARD_PORT")
	if port == "" {
		port = "8080"
	}
	return net.Listen("tcp", ":"+port)
}

func main() {
	listener, err := listen()
	if err != nil {
		log.Fatal(err)
	}
	log.Print("listening on ", listener.Addr())
	log.Fatal(http.Serve(listener, handler()))
}
