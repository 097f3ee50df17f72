import { resolve } from 'node:path';
import type { ManifestApplication, ManifestDocument, ManifestProperties } from './schema.js';

/** A document with its paths made absolute. */
export interface PlacedDocument extends ManifestDocument {
  applications: ManifestApplication[];
}

/** Takes the document's `path`s as relative to the directory that its file lies in. Pure. */
export function placeDocument(document: ManifestDocument, directory: string): PlacedDocument {
  const place = <Properties extends ManifestProperties>(properties: Properties): Properties =>
    properties.path === undefined ? properties : { ...properties, path: resolve(directory, properties.path) };
  return { ...place(document), applications: document.applications.map(place) };
}

/**
 * A manifest with what it inherits: the child's word counts, lists are joined, applications of the same name are one,
 * and those of the parent come first. Pure.
 */
export function inheritDocument(parent: PlacedDocument, child: PlacedDocument): PlacedDocument {
  const own = new Map(child.applications.map((application) => [application.name, application]));
  const inherited = parent.applications.map((application) => {
    const override = application.name === undefined ? undefined : own.get(application.name);
    return override ? mergeProperties(application, override) : application;
  });
  const known = new Set(parent.applications.map(({ name }) => name).filter((name) => name !== undefined));
  const added = child.applications.filter(({ name }) => name === undefined || !known.has(name));
  return { ...mergeProperties(parent, child), applications: [...inherited, ...added] };
}

/** The applications, each with what the top of the manifest says for all; one of it alone when none are listed. Pure. */
export function applicationsOf(document: PlacedDocument): ManifestApplication[] {
  const { applications, inherit: _inherit, ...globals } = document;
  if (applications.length === 0) return Object.keys(globals).length === 0 ? [] : [globals];
  return applications.map((application) => mergeProperties(globals, application));
}

/** The second one's word counts; lists and variables are joined. */
function mergeProperties<Properties extends ManifestProperties>(
  under: ManifestProperties,
  over: Properties,
): Properties {
  const merged: Properties = { ...under, ...over };
  for (const key of ['domains', 'hosts', 'services'] as const) {
    if (under[key] && over[key]) merged[key] = [...new Set([...under[key], ...over[key]])];
  }
  if (under.routes && over.routes) merged.routes = [...under.routes, ...over.routes];
  if (under.env && over.env) merged.env = { ...under.env, ...over.env };
  return merged;
}
