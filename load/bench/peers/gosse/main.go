// go-sse with its default provider, as its documentation writes it.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tmaxmax/go-sse"
)

var (
	text    = strings.Repeat("x", 3930)
	emitted atomic.Int64
)

func message() *sse.Message {
	id := emitted.Add(1)
	stamp := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	m := &sse.Message{ID: sse.ID(strconv.FormatInt(id, 10)), Type: sse.Type("agent_chunk")}
	m.AppendData(fmt.Sprintf(
		`{"id":%d,"type":"agent_chunk","timestamp":"%s","data":{"text":"%s"}}`, id, stamp, text))
	return m
}

func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.URL.Query().Get(name))
	return n
}

func run(server *sse.Server, events, burst int, pause time.Duration) {
	for events > 0 {
		for i := 0; i < burst && events > 0; i++ {
			_ = server.Publish(message())
			events--
		}
		time.Sleep(pause)
	}
}

func main() {
	server := &sse.Server{}
	var history []*sse.Message
	mux := http.NewServeMux()
	mux.Handle("GET /stream", server)
	mux.HandleFunc("GET /replay", func(w http.ResponseWriter, r *http.Request) {
		for len(history) < number(r, "events") { // one reader after the other
			history = append(history, message())
		}
		session, err := sse.Upgrade(w, r)
		if err != nil {
			return
		}
		for _, m := range history {
			if session.Send(m) != nil {
				return
			}
		}
		_ = session.Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /run", func(w http.ResponseWriter, r *http.Request) {
		pause := time.Duration(number(r, "us")) * time.Microsecond
		go run(server, number(r, "events"), number(r, "burst"), pause)
		w.WriteHeader(http.StatusAccepted)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, mux))
}
