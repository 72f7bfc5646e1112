// Enriches earthquake reports: reads them from one topic and publishes them, with what follows from
// their numbers, on another.
//
// A batch is published whole before the function answers. If publishing fails, so does the
// invocation, and the batch comes again: reports can be published twice, never lost.

import { Producer } from './kafka.js';

// Outside the handler, so that a warm instance keeps its connections.
let producer;

export async function handler(event) {
  producer ??= new Producer(required('KAFKA_BOOTSTRAP'));
  const topic = required('OUTPUT_TOPIC');
  const messages = [];
  let skipped = 0;
  for (const record of Object.values(event.records).flat()) {
    const report = parse(record);
    if (report === undefined) {
      skipped += 1;
    } else {
      messages.push({ key: report.id, value: JSON.stringify(enrich(report)) });
    }
  }
  await producer.send(topic, messages);
  console.log(`${messages.length} reports published on ${topic}, ${skipped} skipped`);
  return { published: messages.length, skipped };
}

function required(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`the variable ${name} is not set`);
  }
  return value;
}

// A record that is no report would be none the next time either: it is counted, not retried.
function parse({ topic, partition, offset, value }) {
  try {
    const report = JSON.parse(Buffer.from(value, 'base64').toString('utf8'));
    if (typeof report.id === 'string' && typeof report.mag === 'number') {
      return report;
    }
    console.warn(`${topic}-${partition}@${offset} has no id or no magnitude`);
  } catch (error) {
    console.warn(`${topic}-${partition}@${offset} is not JSON: ${error.message}`);
  }
  return undefined;
}

export function enrich(report) {
  return {
    ...report,
    at: new Date(report.time).toISOString(),
    region: region(report.place),
    strength: strength(report.mag),
    depth_class: depthClass(report.depth),
    energy_joules: energy(report.mag),
  };
}

// "4km W of Castaic, CA" → "CA"; a place without a comma is a region of its own.
function region(place) {
  return (place ?? '').split(', ').at(-1) || null;
}

// The classes of the USGS.
function strength(magnitude) {
  const classes = [[8, 'great'], [7, 'major'], [6, 'strong'], [5, 'moderate'], [4, 'light'], [3, 'minor']];
  return classes.find(([from]) => magnitude >= from)?.[1] ?? 'micro';
}

function depthClass(kilometres) {
  if (typeof kilometres !== 'number') {
    return null;
  }
  return kilometres < 70 ? 'shallow' : kilometres < 300 ? 'intermediate' : 'deep';
}

// Gutenberg and Richter: log10 E = 4.8 + 1.5 M.
function energy(magnitude) {
  return Number((10 ** (4.8 + 1.5 * magnitude)).toPrecision(4));
}
