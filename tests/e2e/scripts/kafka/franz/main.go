// franz-go: the list that every Kafka client goes through.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	bootstrap = kgo.SeedBrokers(os.Getenv("KAFKA_BOOTSTRAP"))
	run       = fmt.Sprintf("%x", time.Now().UnixNano())
	topic     = "franz-" + run
)

func check(holds bool, what ...any) {
	if !holds {
		panic(fmt.Sprint(what...))
	}
}

func must[T any](value T, err error) T {
	check(err == nil, err)
	return value
}

func done(err error) { check(err == nil, err) }

// A member of a group, and which partitions it has.
type member struct {
	*kgo.Client
	assigned map[int32]bool
}

func join(ctx context.Context, group, topic string, options ...kgo.Opt) *member {
	one := &member{assigned: map[int32]bool{}}
	has := func(holds bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, places map[string][]int32) {
			for _, partition := range places[topic] {
				if holds {
					one.assigned[partition] = true
				} else {
					delete(one.assigned, partition)
				}
			}
		}
	}
	options = append(options, bootstrap, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.OnPartitionsAssigned(has(true)), kgo.OnPartitionsRevoked(has(false)), kgo.OnPartitionsLost(has(false)))
	one.Client = must(kgo.NewClient(options...))
	return one
}

func until(ctx context.Context, holds func() bool, seen *[]string, members ...*member) {
	for !holds() {
		check(ctx.Err() == nil, "waited in vain with ", len(*seen), " records")
		for _, one := range members {
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			fetches := one.PollFetches(short)
			cancel()
			fetches.EachRecord(func(record *kgo.Record) { *seen = append(*seen, string(record.Value)) })
			one.AllowRebalance()
		}
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	began := time.Now()
	client := must(kgo.NewClient(bootstrap))
	admin := kadm.NewClient(client)
	must(admin.CreateTopic(ctx, 4, 1, nil, topic))
	check(len(must(admin.ListTopics(ctx, topic))[topic].Partitions) == 4, "partitions")

	sent := map[string]bool{}
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(),
		kgo.Lz4Compression(), kgo.ZstdCompression()}
	for number, codec := range codecs {
		producer := must(kgo.NewClient(bootstrap, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec)))
		var records []*kgo.Record
		for n := range 100 {
			value := fmt.Sprintf("%d-%d", number, n)
			sent[value] = true
			records = append(records, kgo.KeyStringRecord(fmt.Sprint(n), value))
		}
		done(producer.ProduceSync(ctx, records...).FirstErr())
		producer.Close()
	}

	balancers := []kgo.GroupBalancer{kgo.RangeBalancer(), kgo.RoundRobinBalancer(), kgo.StickyBalancer(),
		kgo.CooperativeStickyBalancer()}
	for _, balancer := range balancers {
		group := balancer.ProtocolName() + "-" + run
		var seen []string
		one := join(ctx, group, topic, kgo.Balancers(balancer))
		until(ctx, func() bool { return len(seen) == len(sent) }, &seen, one)
		done(one.CommitUncommittedOffsets(ctx))
		two := join(ctx, group, topic, kgo.Balancers(balancer))
		until(ctx, func() bool { return len(one.assigned) == 2 && len(two.assigned) == 2 }, &seen, one, two)
		described := must(admin.DescribeGroups(ctx, group))[group]
		check(len(described.Members) == 2, described)
		two.CloseAllowingRebalance()
		until(ctx, func() bool { return len(one.assigned) == 4 }, &seen, one)
		one.CloseAllowingRebalance()
		check(len(seen) == len(sent), "what was committed is not read again")
		var committed int64
		must(admin.FetchOffsets(ctx, group)).Each(func(found kadm.OffsetResponse) { committed += found.At })
		check(committed == int64(len(sent)), committed)
		must(admin.DeleteGroup(ctx, group))
	}

	for _, found := range must(admin.ListOffsetsAfterMilli(ctx, began.UnixMilli(), topic))[topic] {
		check(found.Offset == 0, found)
	}

	outcome := "outcome-" + run
	must(admin.CreateTopic(ctx, 1, 1, nil, outcome))
	session := must(kgo.NewGroupTransactSession(bootstrap, kgo.TransactionalID("t-"+run),
		kgo.ConsumerGroup("source-"+run), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted())))
	for _, word := range []string{"kept", "dropped", "kept"} {
		for session.PollRecords(ctx, 10).Empty() {
			check(ctx.Err() == nil, "nothing to read")
		}
		done(session.Begin())
		for n := range 10 {
			session.Produce(ctx, &kgo.Record{Topic: outcome, Value: fmt.Appendf(nil, "%s-%d", word, n)}, nil)
		}
		// Else an abort would drop what is still here, and prove nothing.
		done(session.Client().Flush(ctx))
		committed := must(session.End(ctx, word == "kept"))
		check(committed == (word == "kept"), "the outcome of ", word)
	}
	session.Close()
	offsets := must(admin.FetchOffsets(ctx, "source-"+run))
	check(len(offsets) > 0, "offsets of the transaction")
	for level, want := range map[kgo.IsolationLevel]int{kgo.ReadCommitted(): 20, kgo.ReadUncommitted(): 30} {
		var seen []string
		reader := join(ctx, fmt.Sprint("read-", want, "-", run), outcome, kgo.FetchIsolationLevel(level))
		until(ctx, func() bool { return len(seen) >= want }, &seen, reader)
		reader.CloseAllowingRebalance()
		for _, value := range seen {
			check(want != 20 || !strings.HasPrefix(value, "dropped"), value)
		}
	}
	must(admin.DeleteTopic(ctx, outcome))
	must(admin.DeleteTopic(ctx, topic))
	fmt.Println("ok")
}
