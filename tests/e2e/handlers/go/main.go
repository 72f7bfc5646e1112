// What the matrix of runtime clients invokes, in Go. One program; the handler's name chooses.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

var (
	instance = strconv.FormatInt(time.Now().UnixNano(), 10)
	calls    = 0
	ticks    = 0
)

type event map[string]any

func (e event) number(name string) int {
	value, _ := e[name].(float64)
	return int(value)
}

type OrderRefused struct{ text string }

func (e *OrderRefused) Error() string { return e.text }

func counted() map[string]any {
	calls++
	return map[string]any{"instance": instance, "calls": calls}
}

func count() (map[string]any, error) {
	shown := counted()
	file, err := os.OpenFile("/tmp/calls", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.WriteString("x"); err != nil {
		return nil, err
	}
	kept, err := file.Stat()
	if err != nil {
		return nil, err
	}
	shown["kept"] = kept.Size()
	return shown, nil
}

func busy(ctx context.Context) (map[string]any, error) {
	began := time.Now().UnixMicro()
	time.Sleep(300 * time.Millisecond)
	who, _ := lambdacontext.FromContext(ctx)
	return map[string]any{
		"instance": instance, "request": who.AwsRequestID, "began": began, "ended": time.Now().UnixMicro(),
	}, nil
}

func shown(ctx context.Context) (map[string]any, error) {
	who, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	var client any
	if who.ClientContext.Custom != nil {
		client = who.ClientContext.Custom
	}
	return map[string]any{
		"request_id": who.AwsRequestID,
		"name":       lambdacontext.FunctionName,
		"version":    lambdacontext.FunctionVersion,
		"arn":        who.InvokedFunctionArn,
		"memory":     lambdacontext.MemoryLimitInMB,
		"log_group":  lambdacontext.LogGroupName,
		"log_stream": lambdacontext.LogStreamName,
		"remaining":  time.Until(deadline).Milliseconds(),
		"client":     client,
	}, nil
}

func environment() (map[string]string, error) {
	shown := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		shown[name] = value
	}
	folder, err := os.Getwd()
	shown["PWD"] = folder
	return shown, err
}

func main() {
	handlers := map[string]any{
		"echo":    func(e any) (any, error) { return e, nil },
		"nothing": func() error { return nil },
		"length":  func(e event) (int, error) { return len(e["text"].(string)), nil },
		"repeat":  func(e event) (string, error) { return strings.Repeat("x", e.number("times")), nil },
		"throw":   func() error { return errors.New("boom") },
		"custom":  func() error { return &OrderRefused{"order 7: ¡no! 😀"} },
		"panics":  func() error { panic("all is lost") },
		"unserialisable": func() (any, error) {
			return func() {}, nil
		},
		"exit_zero": func() { os.Exit(0) },
		"exit_one":  func() { os.Exit(1) },
		"killed": func() {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Minute)
		},
		"hang": func(e event) (string, error) {
			if e["hang"] != nil {
				time.Sleep(time.Minute)
			}
			return instance, nil
		},
		"crash_sometimes": func(e event) (map[string]any, error) {
			if e["crash"] != nil {
				os.Exit(3)
			}
			return counted(), nil
		},
		"count":       count,
		"busy":        busy,
		"context":     shown,
		"environment": environment,
		"trace": func(ctx context.Context) (any, error) {
			return ctx.Value("x-amzn-trace-id"), nil
		},
		"ticking": func() (int, error) {
			if calls == 0 {
				go func() {
					for {
						time.Sleep(time.Millisecond)
						ticks++
					}
				}()
			}
			calls++
			return ticks, nil
		},
		"log": func(e event) (string, error) {
			fmt.Println("to standard output")
			fmt.Fprintln(os.Stderr, "to standard error")
			fmt.Println("unicode: grüße 😀")
			if long := e.number("long"); long > 0 {
				fmt.Println(strings.Repeat("y", long))
			}
			return "logged", nil
		},
		"flood": func(e event) (string, error) {
			errors := bufio.NewWriter(os.Stderr)
			for n := 0; n < e.number("kib"); n++ {
				errors.WriteString(strings.Repeat("z", 1023) + "\n")
			}
			return "flooded", errors.Flush()
		},
		"streams": func() (any, error) {
			return strings.NewReader(`["one","two"]`), nil
		},
	}
	name := os.Getenv("_HANDLER")
	if name == "broken" {
		fmt.Fprintln(os.Stderr, "no database")
		os.Exit(1)
	}
	lambda.Start(handlers[name])
}
