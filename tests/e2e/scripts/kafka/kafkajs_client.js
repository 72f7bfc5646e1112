// kafkajs: the list that every Kafka client goes through. It has gzip built in and nothing else.
const { Kafka, CompressionTypes, logLevel } = require('kafkajs');
const assert = require('node:assert');
const { randomUUID } = require('node:crypto');

const kafka = new Kafka({
  clientId: 'kafkajs',
  brokers: [process.env.KAFKA_BOOTSTRAP],
  logLevel: logLevel.ERROR,
});
const run = randomUUID().slice(0, 8);
const topic = `kafkajs-${run}`;

async function until(done, what) {
  const deadline = Date.now() + 60_000;
  while (!done()) {
    assert(Date.now() < deadline, `waited in vain: ${what()}`);
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

async function member(groupId, seen, topics = [topic], settings = {}) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10_000, heartbeatInterval: 500, ...settings });
  const known = { assigned: [] };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    known.assigned = payload.memberAssignment[topics[0]] || [];
  });
  await consumer.connect();
  await consumer.subscribe({ topics, fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => { seen.push(message.value.toString()); } });
  return { consumer, known };
}

async function main() {
  const began = Date.now();
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 4, replicationFactor: 1 }] });
  const described = await admin.fetchTopicMetadata({ topics: [topic] });
  assert.equal(described.topics[0].partitions.length, 4);

  const sent = new Set();
  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
    const messages = Array.from({ length: 100 }, (_, n) => ({ key: `${n}`, value: `${compression}-${n}` }));
    messages.forEach(({ value }) => sent.add(value));
    await producer.send({ topic, compression, messages });
  }
  await producer.disconnect();

  const groupId = `group-${run}`;
  const seen = [];
  const one = await member(groupId, seen);
  await until(() => seen.length === sent.size, () => `${seen.length} of ${sent.size}`);
  assert.deepEqual(new Set(seen), sent);
  const two = await member(groupId, seen);
  const shared = () => one.known.assigned.length === 2 && two.known.assigned.length === 2;
  await until(shared, () => JSON.stringify([one.known, two.known]));
  await two.consumer.disconnect();
  await until(() => one.known.assigned.length === 4, () => JSON.stringify(one.known));
  await one.consumer.disconnect();
  const times = await admin.fetchTopicOffsetsByTimestamp(topic, began);
  assert.deepEqual(times.map(({ offset }) => offset), ['0', '0', '0', '0']);
  assert((await admin.listGroups()).groups.some((group) => group.groupId === groupId));
  await admin.deleteGroups([groupId]);

  const outcome = `outcome-${run}`;
  await admin.createTopics({ topics: [{ topic: outcome, numPartitions: 1, replicationFactor: 1 }] });
  const writer = kafka.producer({ transactionalId: `t-${run}`, idempotent: true, maxInFlightRequests: 1 });
  await writer.connect();
  for (const word of ['kept', 'dropped', 'kept']) {
    const transaction = await writer.transaction();
    const messages = Array.from({ length: 10 }, (_, n) => ({ value: `${word}-${n}` }));
    await transaction.send({ topic: outcome, messages });
    if (word === 'kept') {
      const topics = [{ topic, partitions: [{ partition: 0, offset: '5' }] }];
      await transaction.sendOffsets({ consumerGroupId: `source-${run}`, topics });
      await transaction.commit();
    } else {
      await transaction.abort();
    }
  }
  await writer.disconnect();
  let committed;
  for (const deadline = Date.now() + 60_000; committed !== '5';) {
    // Kafka answers for a commit before its offsets are there to be read.
    assert(Date.now() < deadline, `committed is ${committed}`);
    const offsets = await admin.fetchOffsets({ groupId: `source-${run}`, topics: [topic] });
    committed = offsets[0].partitions.find(({ partition }) => partition === 0).offset;
  }
  for (const [readUncommitted, want] of [[false, 20], [true, 30]]) {
    const read = [];
    const { consumer } = await member(`read-${want}-${run}`, read, [outcome], { readUncommitted });
    await until(() => read.length >= want, () => `${read.length} of ${want}`);
    assert(readUncommitted || !read.some((value) => value.startsWith('dropped')), read.join());
    await consumer.disconnect();
  }
  await admin.deleteTopics({ topics: [outcome] });
  await admin.deleteTopics({ topics: [topic] });
  await admin.disconnect();
}

main().then(
  () => { console.log('ok'); process.exit(0); },
  (error) => { console.error(error); process.exit(1); },
);
