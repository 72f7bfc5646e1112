// Run with `node --test` in this folder.

import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';

import { enrich, handler } from './index.js';
import { crc32c, murmur2 } from './kafka.js';

test('the checksum is CRC-32C', () => {
  // The check value of the CRC catalogue.
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
});

test('keys are hashed as by the Java client', () => {
  // From the tests of Kafka's own `Utils.murmur2`.
  const cases = [['21', -973932308], ['foobar', -790332482], ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829], ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107]];
  for (const [key, hash] of cases) {
    assert.equal(murmur2(Buffer.from(key)), hash, key);
  }
});

test('a report is enriched by what follows from its numbers', () => {
  const report = { id: 'x', time: 0, place: '4km W of Castaic, CA', mag: 5, depth: 26 };
  assert.deepEqual(enrich(report), {
    ...report, at: '1970-01-01T00:00:00.000Z', region: 'CA', strength: 'moderate',
    depth_class: 'shallow', energy_joules: 1.995e12,
  });
});

// A broker that leads two partitions, keeps what it gets, and answers with `error`.
function broker(error) {
  const produced = [];
  const sockets = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    let received = Buffer.alloc(0);
    socket.on('data', (data) => {
      received = Buffer.concat([received, data]);
      while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
        const end = 4 + received.readInt32BE(0);
        const request = received.subarray(4, end);
        received = received.subarray(end);
        const isMetadata = request.readInt16BE(0) === 3;
        const body = isMetadata ? metadata(server.address().port) : produceResponse(error);
        if (!isMetadata) {
          produced.push(request);
        }
        const head = Buffer.alloc(8);
        head.writeInt32BE(4 + body.length);
        socket.write(Buffer.concat([head, body]));
      }
    });
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve({ server, sockets, produced })));
}

const int = (value) => { const b = Buffer.alloc(4); b.writeInt32BE(value); return b; };
const short = (value) => { const b = Buffer.alloc(2); b.writeInt16BE(value); return b; };
const text = (value) => Buffer.concat([short(value.length), Buffer.from(value)]);

function metadata(port) {
  const partition = (index) => Buffer.concat([short(0), int(index), int(7), int(1), int(7), int(1), int(7)]);
  return Buffer.concat([
    int(1), int(7), text('127.0.0.1'), int(port), short(-1), int(7),
    int(1), short(0), text('out'), Buffer.from([0]), int(2), partition(1), partition(0),
  ]);
}

function produceResponse(error) {
  return Buffer.concat([int(1), text('out'), int(1), int(0), short(error), Buffer.alloc(16), int(0)]);
}

function kafkaEvent(values) {
  const records = values.map((value, offset) => ({
    topic: 'in', partition: 0, offset, value: Buffer.from(value).toString('base64'),
  }));
  return { eventSource: 'SelfManagedKafka', records: { 'in-0': records } };
}

async function invoke(error, values) {
  const { server, sockets, produced } = await broker(error);
  process.env.KAFKA_BOOTSTRAP = `127.0.0.1:${server.address().port}`;
  process.env.OUTPUT_TOPIC = 'out';
  // Every test has its own broker, so it needs its own producer.
  const fresh = await import(`./index.js?${server.address().port}`);
  try {
    return { result: await fresh.handler(kafkaEvent(values)), produced };
  } finally {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  }
}

test('reports are published and others are counted', async () => {
  const values = ['{"id":"a","mag":1,"time":0}', 'nonsense', '{"id":"b","mag":2,"time":0}', '{}'];
  const { result, produced } = await invoke(0, values);
  assert.deepEqual(result, { published: 2, skipped: 2 });
  const sent = Buffer.concat(produced).toString('latin1');
  assert.ok(sent.includes('"id":"a"') && sent.includes('"id":"b"') && !sent.includes('nonsense'));
});

test('an error of the broker fails the invocation, so that the batch comes again', async () => {
  await assert.rejects(invoke(6, ['{"id":"a","mag":1,"time":0}']), /Kafka error 6/);
});

test('a variable that is missing is named', async () => {
  delete process.env.KAFKA_BOOTSTRAP;
  await assert.rejects(handler(kafkaEvent([])), /KAFKA_BOOTSTRAP/);
});
