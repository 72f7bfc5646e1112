// What the matrix of runtime clients invokes, in Node.js: for aws-lambda-ric and for our own runtime.
'use strict';
const fs = require('node:fs');
const { randomUUID } = require('node:crypto');

const instance = randomUUID();
let calls = 0;
let ticks = 0;
const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

class OrderRefused extends Error {
  constructor(message) {
    super(message);
    this.name = 'OrderRefused';
  }
}

exports.echo = async (event) => event;
exports.nothing = async () => {};
exports.length = async (event) => event.text.length;
exports.repeat = async (event) => 'x'.repeat(event.times);
exports.throw = async () => {
  throw new RangeError('boom');
};
exports.custom = async () => {
  throw new OrderRefused('order 7: ¡no! 😀');
};
exports.unserialisable = async () => {
  const round = {};
  round.round = round;
  return round;
};
exports.exit_zero = async () => process.exit(0);
exports.exit_one = async () => process.exit(1);
exports.killed = async () => {
  process.kill(process.pid, 'SIGKILL');
  await sleep(60000);
};
exports.hang = async (event) => {
  if (event.hang) await sleep(60000);
  return instance;
};
exports.crash_sometimes = async (event) => {
  calls += 1;
  if (event.crash) process.exit(3);
  return { instance, calls };
};
exports.count = async () => {
  calls += 1;
  fs.appendFileSync('/tmp/calls', 'x');
  return { instance, calls, kept: fs.readFileSync('/tmp/calls').length };
};
exports.busy = async (event, context) => {
  const began = Date.now() * 1000;
  await sleep(300);
  return { instance, request: context.awsRequestId, began, ended: Date.now() * 1000 };
};
exports.context = async (event, context) => ({
  request_id: context.awsRequestId,
  name: context.functionName,
  version: context.functionVersion,
  arn: context.invokedFunctionArn,
  memory: Number(context.memoryLimitInMB),
  log_group: context.logGroupName,
  log_stream: context.logStreamName,
  remaining: context.getRemainingTimeInMillis(),
  client: context.clientContext ? context.clientContext.custom : null,
});
exports.environment = async () => ({ ...process.env, PWD: process.cwd() });
exports.trace = async () => process.env._X_AMZN_TRACE_ID ?? null;
exports.ticking = async () => {
  if (calls === 0) setInterval(() => { ticks += 1; }, 1);
  calls += 1;
  return ticks;
};
exports.log = async (event) => {
  console.log('to standard output');
  console.error('to standard error');
  console.log('unicode: grüße 😀');
  if (event.long) console.log('y'.repeat(event.long));
  return 'logged';
};
exports.flood = async (event) => {
  const line = 'z'.repeat(1023) + '\n';
  for (let n = 0; n < event.kib; n += 1) await new Promise((written) => process.stderr.write(line, written));
  return 'flooded';
};
exports.callback = (event, context, callback) => {
  setTimeout(() => callback(null, { called: event }), 5);
};
exports.callback_error = (event, context, callback) => callback(new OrderRefused('called back'));
exports.unhandled_rejection = async () => {
  Promise.reject(new OrderRefused('nobody listens'));
  await sleep(60000);
};
exports.uncaught = () => {
  setImmediate(() => {
    throw new OrderRefused('out of turn');
  });
};
