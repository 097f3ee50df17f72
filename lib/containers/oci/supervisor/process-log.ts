export type OutputName = 'stdout' | 'stderr';

/** A run of output bytes of one stream. */
export interface OutputChunk {
  output: OutputName;
  data: Buffer;
}

const newline = 0x0a;
const space = 0x20;

/**
 * Takes conmon's log apart: `<time> stdout|stderr F|P <bytes>\n` per line, where `P` is a piece of a line without its
 * newline. Bytes come out as the process wrote them. Feed it the file's content in order, in pieces of any size.
 */
export class ProcessLogParser {
  #rest: Buffer = Buffer.alloc(0);

  /** The output in `piece` and what was kept of the pieces before; neighbours of one stream come joined. */
  push(piece: Buffer): OutputChunk[] {
    const content = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    const chunks: { output: OutputName; parts: Buffer[] }[] = [];
    let start = 0;
    for (let end = content.indexOf(newline); end >= 0; end = content.indexOf(newline, start)) {
      const record = parseRecord(content.subarray(start, end + 1));
      start = end + 1;
      if (record === undefined) continue;
      const last = chunks.at(-1);
      if (last?.output === record.output) last.parts.push(record.data);
      else chunks.push({ output: record.output, parts: [record.data] });
    }
    this.#rest = content.subarray(start);
    return chunks.map(({ output, parts }) => ({ output, data: parts.length === 1 ? parts[0]! : Buffer.concat(parts) }));
  }

  /** Forgets a piece of a record; for going on with another file. */
  reset(): void {
    this.#rest = Buffer.alloc(0);
  }
}

/** `record` ends with its newline, which belongs to the output when the line is whole. */
function parseRecord(record: Buffer): OutputChunk | undefined {
  const afterTime = record.indexOf(space) + 1;
  const afterName = record.indexOf(space, afterTime) + 1;
  const afterTag = record.indexOf(space, afterName) + 1;
  if (afterTime === 0 || afterName === 0 || afterTag === 0) return undefined;
  const name = record.toString('latin1', afterTime, afterName - 1);
  if (name !== 'stdout' && name !== 'stderr') return undefined;
  const isWhole = record[afterName] === 'F'.charCodeAt(0);
  return { output: name, data: record.subarray(afterTag, isWhole ? record.length : record.length - 1) };
}
