// Answers the median of the numbers in its event.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

func main() {
	var event struct{ Values []float64 }
	if err := json.NewDecoder(os.Stdin).Decode(&event); err != nil {
		fail("BadEvent", err.Error())
	}
	count := len(event.Values)
	if count == 0 {
		fail("NoValues", "there is no median of nothing")
	}
	slices.Sort(event.Values)
	median := (event.Values[(count-1)/2] + event.Values[count/2]) / 2
	fmt.Fprintf(os.Stderr, "%d values\n", count)
	answer(map[string]any{"count": count, "median": median})
}

// An error of the function's own: what is printed says of which type, and the status that it is one.
func fail(kind, message string) {
	answer(map[string]any{"errorType": kind, "errorMessage": message})
	os.Exit(1)
}

func answer(value any) {
	json.NewEncoder(os.Stdout).Encode(value)
}
