import { InvalidArgumentError, Option } from 'commander';
import { parseCount } from '../quantities.js';

export interface JsonOptions {
  json?: boolean;
}

/** `--json` of commands that show something. */
export function jsonOption(): Option {
  return new Option('--json', 'print JSON');
}

/** One part of a host name, or `*`. @throws InvalidArgumentError */
export function parseHostname(text: string): string {
  if (!/^(\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$/i.test(text)) {
    throw new InvalidArgumentError('Give one part of a host name.');
  }
  return text.toLowerCase();
}

/** @throws InvalidArgumentError */
export function parseDomain(text: string): string {
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(text)) throw new InvalidArgumentError('Give the name of a domain.');
  return text.toLowerCase();
}

/** Path of a route. @throws InvalidArgumentError */
export function parseRoutePath(text: string): string {
  if (!/^\/?[^\s?#]+$/.test(text)) throw new InvalidArgumentError('Give a path without a query.');
  return text;
}

/** A place in an order, from 1. @throws InvalidArgumentError */
export function parsePosition(text: string): number {
  const position = parseCount(text);
  if (position === 0) throw new InvalidArgumentError('The first position is 1.');
  return position;
}

/** A name of a variable. @throws InvalidArgumentError */
export function parseVariableName(text: string): string {
  if (!/^[A-Za-z_]\w*$/.test(text)) throw new InvalidArgumentError('Give a name of a variable.');
  return text;
}

/** `default` and `null` go back to what the buildpack, or detection, says. */
export function parseResettable(text: string): string | null {
  return text === 'default' || text === 'null' ? null : text;
}
