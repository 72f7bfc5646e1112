// Runs a Node.js function: asks the Runtime API for events and answers them.
//
// No dependencies. Behaves to the function as AWS's runtime client does: the context object,
// callbacks and promises, the shapes and types of errors, the form of what `console` prints.

import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import util from 'node:util';

const API = '/2018-06-01/runtime/';
let host, port, agent;

function reach(address) {
  [host, port] = address.split(':');
  // One connection that stays open. The agent lets go of it while it is idle, so that a function
  // that answers by callback can be seen to have nothing left to do.
  agent = new http.Agent({ keepAlive: true, maxSockets: 1, noDelay: true });
}

// The invocation that runs: what `console` prints belongs to it, and so do stray errors.
let current;

// Goes through all that comes between a job and its first answer, and leaves no trace of it: what is done
// for the first time takes several times as long.
async function rehearse() {
  const server = http.createServer((request, response) => {
    request.resume().on('end', () => {
      response.setHeader('lambda-runtime-aws-request-id', 'a');
      response.end('{}');
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  reach(`127.0.0.1:${server.address().port}`);
  const name = path.join(import.meta.dirname ?? path.dirname(process.argv[1]), 'rehearsal');
  const module = await loadModule(name, name);
  delete createRequire(import.meta.url).cache[`${name}.js`];
  await serveOne(module.handler);
  agent.destroy();
  await new Promise((resolve) => server.close(resolve));
  current = undefined;
}

// Becomes what is told on standard input: a folder, arguments and variables, each ended by a zero.
function waitForJob() {
  const [folder, count, ...rest] = fs.readFileSync(0, 'utf8').split('\0').slice(0, -1);
  fs.closeSync(0);
  // The lowest number that is free: standard input.
  fs.openSync('/dev/null', 'r');
  process.argv.splice(1, Infinity, ...rest.slice(0, count));
  for (const name of Object.keys(process.env)) {
    delete process.env[name];
  }
  for (const variable of rest.slice(count)) {
    const end = variable.indexOf('=');
    process.env[variable.slice(0, end)] = variable.slice(end + 1);
  }
  process.chdir(folder);
}

class Fault extends Error {
  constructor(type, message) {
    super(message);
    this.name = type;
  }
}

function call(method, resource, body, headers) {
  return new Promise((resolve, reject) => {
    const options = { host, port, method, agent, path: API + resource, headers };
    const request = http.request(options, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
    });
    request.on('error', reject);
    request.setTimeout(0);
    request.end(body);
  });
}

function post(resource, json, headers = {}) {
  const body = Buffer.from(json);
  return call('POST', resource, body, {
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    ...headers,
  });
}

function describe(error) {
  if (error instanceof Error || util.types.isNativeError(error)) {
    const trace = String(error.stack ?? '').split('\n');
    return { errorType: error.name, errorMessage: error.message, trace };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

function postFault(resource, fault) {
  // A header cannot carry every name that an error can have.
  const type = fault.errorType.replace(/[^\x20-\x7e]/g, '?');
  return post(resource, JSON.stringify(fault), { 'Lambda-Runtime-Function-Error-Type': type });
}

// --- What `console` prints

function logsJson() {
  return process.env.AWS_LAMBDA_LOG_FORMAT === 'JSON';
}

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

function isKept(level) {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL);
}

function print(level, text) {
  const id = current?.requestId ?? 'undefined';
  process.stdout.write(`${new Date().toISOString()}\t${id}\t${level}\t${text}\n`);
}

// One JSON object with AWS's names. A single object is the message itself; an error among several
// values is told beside it.
function printJson(level, values) {
  const line = {
    timestamp: new Date().toISOString(),
    level,
    requestId: current?.requestId,
    message: util.format(...values),
  };
  const error = values.find((value) => value instanceof Error || util.types.isNativeError(value));
  if (error !== undefined) {
    const { errorType, errorMessage, trace } = describe(error);
    Object.assign(line, { errorType, errorMessage, stackTrace: trace.slice(1) });
  } else if (values.length === 1 && typeof values[0] === 'object') {
    line.message = values[0];
  }
  let text;
  try {
    text = JSON.stringify(line);
  } catch {
    // A message that refers to itself, or holds what JSON has no word for.
    text = JSON.stringify({ ...line, message: util.format(...values) });
  }
  process.stdout.write(`${text}\n`);
}

function patchConsole() {
  const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR' };
  if (logsJson()) {
    for (const [method, level] of Object.entries({ ...levels, trace: 'TRACE' })) {
      console[method] = isKept(level) ? (...values) => printJson(level, values) : () => {};
    }
    return;
  }
  for (const [method, level] of Object.entries(levels)) {
    console[method] = (...values) => print(level, util.format(...values));
  }
  console.trace = (...values) => {
    const { stack } = new Error(util.format(...values));
    print('TRACE', stack.replace(/^Error/, 'Trace'));
  };
}

function logFault(label, fault, error) {
  const { trace, ...rest } = fault;
  const own = error instanceof Error ? Object.fromEntries(Object.entries(error)) : {};
  if (logsJson()) {
    printJson('ERROR', [{ ...rest, ...own, stackTrace: trace }]);
    return;
  }
  print('ERROR', `${label} \t${JSON.stringify({ ...rest, ...own, stack: trace })}`);
}

// --- Finding the handler

async function loadHandler() {
  const root = process.env.LAMBDA_TASK_ROOT;
  const name = process.env._HANDLER;
  const match = /^([^.]*)\.(.+)$/.exec(path.basename(name));
  if (name.includes('..')) {
    throw new Fault(
      'Runtime.MalformedHandlerName',
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  if (!match) {
    throw new Fault('Runtime.MalformedHandlerName', 'Bad handler');
  }
  const [, file, members] = match;
  const base = path.resolve(root, path.dirname(name), file);
  const module = await loadModule(base, file);
  let handler = module;
  for (const member of members.split('.')) {
    handler = handler?.[member];
  }
  if (handler === undefined) {
    throw new Fault('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  }
  if (typeof handler !== 'function') {
    throw new Fault('Runtime.HandlerNotFound', `${name} is not a function`);
  }
  return handler;
}

async function loadModule(base, name) {
  const found = ['', '.js', '.mjs', '.cjs'].map((ending) => base + ending).find(isFile);
  try {
    if (found === undefined) {
      // A folder with an index, or nothing: the message is that of `require`.
      return createRequire(path.join(path.dirname(base), 'noop.js'))(base);
    }
    if (found.endsWith('.mjs') || (found.endsWith('.js') && isModulePackage(path.dirname(found)))) {
      const module = await import(pathToFileURL(found).href);
      return module;
    }
    return createRequire(found)(found);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw Object.assign(new Fault('Runtime.UserCodeSyntaxError', String(error)), { stack: error.stack });
    }
    if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND') {
      const message = found === undefined ? `Error: Cannot find module '${name}'` : String(error);
      throw Object.assign(new Fault('Runtime.ImportModuleError', message), { stack: error.stack });
    }
    throw error;
  }
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

// Whether `.js` in this folder means an ES module: the nearest package.json says so.
function isModulePackage(folder) {
  const file = path.join(folder, 'package.json');
  if (isFile(file)) {
    try {
      return JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module';
    } catch {
      return false;
    }
  }
  const above = path.dirname(folder);
  const leavesPackage = folder === process.env.LAMBDA_TASK_ROOT || above === folder;
  return leavesPackage ? false : isModulePackage(above);
}

// --- One invocation

function contextOf(headers, settle) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const json = (text) => (text === undefined ? undefined : JSON.parse(text));
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: json(headers['lambda-runtime-client-context']),
    identity: json(headers['lambda-runtime-cognito-identity']),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    getRemainingTimeInMillis: () => Math.max(deadline - Date.now(), 0),
    // These three do not wait for the event loop.
    done: (error, result) => settle(error, result),
    succeed: (result) => settle(null, result),
    fail: (error) => settle(error ?? 'handled'),
  };
}

// Calls the handler; resolves with its result or rejects with its error, whichever way it tells.
function run(handler, event, headers) {
  return new Promise((resolve, reject) => {
    const settle = (error, result) => {
      process.removeListener('beforeExit', whenIdle);
      if (error === null || error === undefined) {
        resolve(result);
      } else {
        reject(error);
      }
    };
    // What a callback has said counts once nothing is left to do; by then, silence means null.
    let said = [null, null];
    const whenIdle = () => settle(...said);
    const context = contextOf(headers, settle);
    const callback = (error, result) => {
      said = [error, result];
      if (!context.callbackWaitsForEmptyEventLoop) {
        settle(error, result);
      }
    };
    // A promise that nothing can settle any more ends the same way.
    process.once('beforeExit', whenIdle);
    try {
      const returned = handler(event, context, callback);
      if (typeof returned?.then === 'function') {
        const rejected = (error) => settle(error ?? new Error('rejected without a reason'));
        returned.then((result) => settle(null, result), rejected);
      }
    } catch (error) {
      settle(error ?? new Error('threw nothing'));
    }
  });
}

// --- Answers in pieces

const STREAMS = Symbol('answers in pieces');
const HTTP_TYPE = 'application/vnd.awslambda.http-integration-response';

globalThis.awslambda = {
  streamifyResponse: (handler) => Object.assign(handler, { [STREAMS]: true }),
  HttpResponseStream: {
    // The head of an HTTP answer, then its body.
    from: (stream, head) => {
      stream.setContentType(HTTP_TYPE);
      stream.write(JSON.stringify(head) + '\0'.repeat(8));
      return stream;
    },
  },
};

async function stream(handler, event, headers, requestId) {
  const request = http.request({
    host,
    port,
    method: 'POST',
    agent,
    path: `${API}invocation/${requestId}/response`,
    headers: {
      'Content-Type': 'application/octet-stream',
      'Transfer-Encoding': 'chunked',
      'Lambda-Runtime-Function-Response-Mode': 'streaming',
      Trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
    },
  });
  const taken = new Promise((resolve, reject) => {
    request.on('response', (response) => response.on('end', resolve).resume());
    request.on('error', reject);
  });
  request.setContentType = (type) => request.setHeader('Content-Type', type);
  try {
    await handler(event, request, contextOf(headers, () => {}));
    request.end();
  } catch (error) {
    const fault = describe(error);
    logFault('Invoke Error', fault, error);
    if (!request.headersSent) {
      taken.catch(() => {});
      request.destroy();
      await postFault(`invocation/${requestId}/error`, fault);
      return;
    }
    request.addTrailers({
      'Lambda-Runtime-Function-Error-Type': fault.errorType.replace(/[^\x20-\x7e]/g, '?'),
      'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(fault)).toString('base64'),
    });
    request.end();
  }
  await taken;
}

async function serveOne(handler) {
  const { headers, body } = await call('GET', 'invocation/next');
  const requestId = headers['lambda-runtime-aws-request-id'];
  current = { requestId };
  if (headers['lambda-runtime-trace-id'] === undefined) {
    delete process.env._X_AMZN_TRACE_ID;
  } else {
    process.env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id'];
  }
  if (handler[STREAMS]) {
    await stream(handler, JSON.parse(body), headers, requestId);
    return;
  }
  let json;
  try {
    const result = await run(handler, JSON.parse(body), headers);
    try {
      json = JSON.stringify(result === undefined ? null : result) ?? 'null';
    } catch (error) {
      throw new Error('Unable to stringify response body', { cause: error });
    }
  } catch (error) {
    const fault = describe(error);
    logFault('Invoke Error', fault, error);
    await postFault(`invocation/${requestId}/error`, fault);
    return;
  }
  // A refusal (a response that is too large, say) is the platform's to report.
  await post(`invocation/${requestId}/response`, json);
}

// An error that nobody caught ends the process, after the invocation that it broke.
async function giveUp(label, error, status) {
  const fault = describe(error);
  logFault(label, fault, error);
  try {
    const resource = current ? `invocation/${current.requestId}/error` : 'init/error';
    // The connection may be taken by a request that waits for the next event.
    agent.maxSockets = 2;
    await postFault(resource, fault);
  } finally {
    process.exit(status);
  }
}

if (process.argv[2] === 'early') {
  await rehearse();
  waitForJob();
}
reach(process.env.AWS_LAMBDA_RUNTIME_API);

process.on('uncaughtException', (error) => giveUp('Uncaught Exception', error, 129));
process.on('unhandledRejection', (reason) => {
  const error = new Fault('Runtime.UnhandledPromiseRejection', String(reason));
  error.reason = String(reason?.stack ?? reason);
  giveUp('Unhandled Promise Rejection', error, 128);
});

patchConsole();
let handler;
try {
  handler = await loadHandler();
} catch (error) {
  const fault = describe(error);
  logFault('Uncaught Exception', fault, error);
  await postFault('init/error', fault);
  process.exit(1);
}
for (;;) {
  await serveOne(handler);
}
