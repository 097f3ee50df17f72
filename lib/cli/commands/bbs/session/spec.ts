import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fromJson } from '../../../../bbs/messages/json/parse.js';
import type { MessageType } from '../../../../bbs/messages/message-type.js';
import type { Terminal } from '../../../session.js';
import { BadArguments } from './word-failure.js';

/**
 * A message from JSON: the argument itself, `@FILE`, or `-` for standard input.
 *
 * @throws BadArguments naming the file, or the field that is wrong
 */
export async function readSpec<T extends object>(type: MessageType<T>, spec: string, terminal: Terminal): Promise<T> {
  const text = await textOf(spec, terminal);
  try {
    return fromJson(type, text);
  } catch (cause) {
    throw new BadArguments(`Invalid JSON: ${(cause as Error).message}`, { cause });
  }
}

async function textOf(spec: string, terminal: Terminal): Promise<string> {
  if (spec === '-') return readInput(terminal);
  if (!spec.startsWith('@')) return spec;
  try {
    return await readFile(resolve(terminal.directory ?? process.cwd(), spec.slice(1)), 'utf8');
  } catch (cause) {
    throw new BadArguments((cause as Error).message, { cause });
  }
}

async function readInput({ input }: Terminal): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of input ?? []) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString('utf8');
}
