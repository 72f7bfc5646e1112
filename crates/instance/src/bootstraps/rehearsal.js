// A function for Node.js to load before it gets its own.
exports.handler = async (event) => event;
