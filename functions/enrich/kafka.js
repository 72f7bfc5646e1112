// A Kafka producer that does one thing: publish a batch and wait until every replica in sync has it.
//
// Two requests of the protocol are enough, in versions that brokers understand from 0.11 to 4:
// Metadata v1 says which broker leads which partition, Produce v3 carries record
// batches of version 2.

import net from 'node:net';

const PRODUCE = { key: 0, version: 3 };
const METADATA = { key: 3, version: 1 };
const ALL_IN_SYNC = -1;
const TIMEOUT_MS = 10_000;
// A topic that is created on first use takes a moment to have leaders.
const METADATA_ATTEMPTS = 50;
const METADATA_PAUSE_MS = 100;
const NOT_THERE_YET = new Set([3, 5]); // UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE

export class Producer {
  // `bootstrap` is `HOST:PORT[,HOST:PORT…]`.
  constructor(bootstrap) {
    this.bootstrap = bootstrap.split(',').map((address) => address.trim());
    this.connections = new Map();
  }

  // Publishes `messages`, `{ key, value }` as strings, in their order for each key.
  async send(topic, messages) {
    if (messages.length === 0) {
      return;
    }
    try {
      const leaders = await this.leaders(topic);
      const batches = new Map();
      for (const message of messages) {
        const key = Buffer.from(message.key);
        const partition = (murmur2(key) & 0x7fffffff) % leaders.length;
        const batch = batches.get(partition) ?? [];
        batch.push({ key, value: Buffer.from(message.value) });
        batches.set(partition, batch);
      }
      const sent = [...batches].map(([partition, batch]) => this.produce(topic, partition, leaders[partition], batch));
      await Promise.all(sent);
    } catch (error) {
      // Whatever went wrong, the next attempt begins with fresh connections.
      this.close();
      throw error;
    }
  }

  close() {
    for (const connection of this.connections.values()) {
      connection.socket.destroy();
    }
    this.connections.clear();
  }

  // The address of each partition's leader.
  async leaders(topic) {
    for (let attempt = 0; attempt < METADATA_ATTEMPTS; attempt += 1) {
      const request = new Writer().int32(1).string(topic);
      const response = new Reader(await this.anyBroker(METADATA, request));
      const brokers = new Map();
      response.array(() => {
        const id = response.int32();
        brokers.set(id, `${response.string()}:${response.int32()}`);
        response.string(); // rack
      });
      response.int32(); // controller
      const [described] = response.array(() => {
        const error = response.int16();
        response.string(); // name
        response.int8(); // internal
        const partitions = response.array(() => {
          const partition = { error: response.int16(), index: response.int32(), leader: response.int32() };
          response.array(() => response.int32()); // replicas
          response.array(() => response.int32()); // in sync
          return partition;
        });
        return { error, partitions };
      });
      const errors = [described.error, ...described.partitions.map((partition) => partition.error)];
      const wrong = errors.find((code) => code !== 0);
      if (wrong === undefined && described.partitions.length > 0) {
        const ordered = described.partitions.sort((one, other) => one.index - other.index);
        return ordered.map((partition) => brokers.get(partition.leader));
      }
      if (wrong !== undefined && !NOT_THERE_YET.has(wrong)) {
        throw new Error(`topic ${topic}: Kafka error ${wrong}`);
      }
      await new Promise((done) => setTimeout(done, METADATA_PAUSE_MS));
    }
    throw new Error(`topic ${topic} has no leaders`);
  }

  async produce(topic, partition, leader, batch) {
    const request = new Writer()
      .string(null) // transactional id
      .int16(ALL_IN_SYNC)
      .int32(TIMEOUT_MS)
      .int32(1)
      .string(topic)
      .int32(1)
      .int32(partition)
      .bytes(recordBatch(batch));
    const response = new Reader(await this.connection(leader).request(PRODUCE, request));
    response.array(() => {
      response.string(); // topic
      response.array(() => {
        response.int32(); // partition
        const error = response.int16();
        response.skip(16); // base offset, append time
        if (error !== 0) {
          throw new Error(`publishing on ${topic}-${partition}: Kafka error ${error}`);
        }
      });
    });
  }

  async anyBroker(api, request) {
    let last;
    for (const address of this.bootstrap) {
      try {
        return await this.connection(address).request(api, request);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  connection(address) {
    let connection = this.connections.get(address);
    if (connection === undefined || connection.socket.destroyed) {
      connection = new Connection(address);
      this.connections.set(address, connection);
    }
    return connection;
  }
}

// Requests and responses of one connection: Kafka answers in the order in which it was asked.
class Connection {
  constructor(address) {
    const colon = address.lastIndexOf(':');
    this.waiting = [];
    this.received = Buffer.alloc(0);
    this.socket = net.connect({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)) });
    this.socket.setNoDelay(true);
    this.socket.setTimeout(2 * TIMEOUT_MS);
    // An idle connection must not keep an invocation waiting.
    this.socket.unref();
    this.socket.on('data', (data) => this.receive(data));
    this.socket.on('timeout', () => this.fail(new Error(`${address} does not answer`)));
    this.socket.on('error', (error) => this.fail(new Error(`${address}: ${error.message}`)));
    this.socket.on('close', () => this.fail(new Error(`${address} closed the connection`)));
  }

  request({ key, version }, body) {
    return new Promise((resolve, reject) => {
      const head = new Writer().int16(key).int16(version).int32(0).string('enrich');
      const message = Buffer.concat([head.done(), body.done()]);
      this.waiting.push({ resolve, reject });
      this.socket.ref();
      this.socket.write(new Writer().bytes(message).done());
    });
  }

  receive(data) {
    this.received = Buffer.concat([this.received, data]);
    while (this.received.length >= 4 && this.received.length >= 4 + this.received.readInt32BE(0)) {
      const end = 4 + this.received.readInt32BE(0);
      // After the length comes the correlation id, which the order makes superfluous.
      this.waiting.shift()?.resolve(this.received.subarray(8, end));
      this.received = this.received.subarray(end);
    }
    if (this.waiting.length === 0) {
      this.socket.unref();
    }
  }

  fail(error) {
    this.socket.destroy();
    for (const { reject } of this.waiting.splice(0)) {
      reject(error);
    }
  }
}

// A record batch of version 2: https://kafka.apache.org/documentation/#recordbatch
export function recordBatch(messages) {
  const now = BigInt(Date.now());
  const records = new Writer();
  messages.forEach(({ key, value }, index) => {
    const record = new Writer()
      .int8(0) // attributes
      .varint(0) // timestamp delta
      .varint(index) // offset delta
      .varint(key.length)
      .raw(key)
      .varint(value.length)
      .raw(value)
      .varint(0) // headers
      .done();
    records.varint(record.length).raw(record);
  });
  const checked = new Writer()
    .int16(0) // attributes: not compressed
    .int32(messages.length - 1)
    .int64(now)
    .int64(now)
    .int64(-1n) // producer id
    .int16(-1) // producer epoch
    .int32(-1) // base sequence
    .int32(messages.length)
    .raw(records.done())
    .done();
  const rest = new Writer()
    .int32(-1) // leader epoch
    .int8(2) // magic
    .uint32(crc32c(checked))
    .raw(checked)
    .done();
  return new Writer().int64(0n).int32(rest.length).raw(rest).done();
}

class Writer {
  parts = [];
  raw(buffer) { this.parts.push(buffer); return this; }
  fixed(size, write) { const buffer = Buffer.alloc(size); write(buffer); return this.raw(buffer); }
  int8(value) { return this.fixed(1, (buffer) => buffer.writeInt8(value)); }
  int16(value) { return this.fixed(2, (buffer) => buffer.writeInt16BE(value)); }
  int32(value) { return this.fixed(4, (buffer) => buffer.writeInt32BE(value)); }
  uint32(value) { return this.fixed(4, (buffer) => buffer.writeUInt32BE(value)); }
  int64(value) { return this.fixed(8, (buffer) => buffer.writeBigInt64BE(value)); }
  bytes(buffer) { return this.int32(buffer.length).raw(buffer); }
  string(text) {
    if (text === null) {
      return this.int16(-1);
    }
    const buffer = Buffer.from(text);
    return this.int16(buffer.length).raw(buffer);
  }
  // Zigzag, seven bits to a byte, the lowest first.
  varint(value) {
    let rest = ((value << 1) ^ (value >> 31)) >>> 0;
    const bytes = [];
    while (rest > 0x7f) {
      bytes.push((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return this.raw(Buffer.from([...bytes, rest]));
  }
  done() { return Buffer.concat(this.parts); }
}

class Reader {
  at = 0;
  constructor(buffer) { this.buffer = buffer; }
  skip(size) { this.at += size; return this.at - size; }
  int8() { return this.buffer.readInt8(this.skip(1)); }
  int16() { return this.buffer.readInt16BE(this.skip(2)); }
  int32() { return this.buffer.readInt32BE(this.skip(4)); }
  array(item) { return Array.from({ length: this.int32() }, item); }
  string() {
    const size = this.int16();
    if (size < 0) {
      return null;
    }
    const from = this.skip(size);
    return this.buffer.toString('utf8', from, from + size);
  }
}

const CRC_TABLE = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return crc >>> 0;
});

export function crc32c(buffer) {
  let crc = 0xffffffff;
  for (const byte of buffer) {
    crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

// The hash by which Kafka's own clients choose a partition.
export function murmur2(key) {
  const multiplier = 0x5bd1e995;
  let hash = 0x9747b28c ^ key.length;
  const whole = key.length & ~3;
  for (let at = 0; at < whole; at += 4) {
    let word = Math.imul(key.readInt32LE(at), multiplier);
    word = Math.imul(word ^ (word >>> 24), multiplier);
    hash = Math.imul(hash, multiplier) ^ word;
  }
  const left = key.length - whole;
  if (left > 2) hash ^= key[whole + 2] << 16;
  if (left > 1) hash ^= key[whole + 1] << 8;
  if (left > 0) hash = Math.imul(hash ^ key[whole], multiplier);
  hash = Math.imul(hash ^ (hash >>> 13), multiplier);
  return hash ^ (hash >>> 15);
}
