// Answers in pieces; only where the client has `awslambda`.
'use strict';
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  stream.setContentType('application/json');
  stream.write('["one"');
  stream.write(',"two"]');
  stream.end();
});
exports.fails = awslambda.streamifyResponse(async (event, stream) => {
  stream.write('["one"');
  throw new RangeError('halfway');
});
exports.refuses = awslambda.streamifyResponse(async () => {
  throw new RangeError('not at all');
});
