export const outputNames = ['stdout', 'stderr'] as const;
export type OutputName = (typeof outputNames)[number];

/** A run of output bytes of one stream. */
export interface OutputChunk {
  output: OutputName;
  data: Buffer;
  /** Where its last record ends in the log. */
  end: number;
}

export interface LogStart {
  /** Where in the log the first piece begins; a record begins there. */
  offset: number;
  /** Per stream: records that do not end behind this place are left out. */
  after?: Partial<Record<OutputName, number>>;
}

const newline = 0x0a;
const space = 0x20;

/**
 * Takes conmon's log apart: `<time> stdout|stderr F|P <bytes>\n` per line, where `P` is a piece of a line without its
 * newline. Bytes come out as the process wrote them. Feed it the file's content in order, in pieces of any size.
 */
export class ProcessLogParser {
  #rest: Buffer = Buffer.alloc(0);
  /** Where `#rest` begins in the log. */
  #offset: number;
  #after: Partial<Record<OutputName, number>>;

  constructor({ offset, after = {} }: LogStart = { offset: 0 }) {
    this.#offset = offset;
    this.#after = after;
  }

  /** The output in `piece` and what was kept of the pieces before; neighbours of one stream come joined. */
  push(piece: Buffer): OutputChunk[] {
    const content = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    const chunks: { output: OutputName; parts: Buffer[]; end: number }[] = [];
    let start = 0;
    for (let newlineAt = content.indexOf(newline); newlineAt >= 0; newlineAt = content.indexOf(newline, start)) {
      const record = parseRecord(content.subarray(start, newlineAt + 1));
      start = newlineAt + 1;
      const end = this.#offset + start;
      if (record === undefined || end <= (this.#after[record.output] ?? 0)) continue;
      const last = chunks.at(-1);
      if (last?.output !== record.output) {
        chunks.push({ output: record.output, parts: [record.data], end });
        continue;
      }
      last.parts.push(record.data);
      last.end = end;
    }
    this.#rest = content.subarray(start);
    this.#offset += start;
    return chunks.map(({ output, parts, end }) => ({
      output,
      data: parts.length === 1 ? parts[0]! : Buffer.concat(parts),
      end,
    }));
  }
}

/** `record` ends with its newline, which belongs to the output when the line is whole. */
function parseRecord(record: Buffer): { output: OutputName; data: Buffer } | undefined {
  const afterTime = record.indexOf(space) + 1;
  const afterName = record.indexOf(space, afterTime) + 1;
  const afterTag = record.indexOf(space, afterName) + 1;
  if (afterTime === 0 || afterName === 0 || afterTag === 0) return undefined;
  const name = record.toString('latin1', afterTime, afterName - 1);
  if (name !== 'stdout' && name !== 'stderr') return undefined;
  const isWhole = record[afterName] === 'F'.charCodeAt(0);
  return { output: name, data: record.subarray(afterTag, isWhole ? record.length : record.length - 1) };
}
