import { toJson } from '../../../../bbs/messages/json/print.js';
import { membersOf } from '../../../../bbs/messages/json/text.js';
import type { MessageType } from '../../../../bbs/messages/message-type.js';
import { formatTable } from '../../../../process/table.js';
import type { Terminal } from '../../../session.js';
import type { SessionFlags } from './session-flags.js';
import { printable } from './wording.js';

/** A column of a table: its heading, and its text in a row. */
export type Column<Row> = readonly [heading: string, text: (row: Row) => string];

/** Prints for programs, JSON a line as cfdot does, or tables for people. */
export class Output {
  private constructor(
    private readonly terminal: Terminal,
    readonly isJson: boolean,
  ) {}

  /** JSON where it is asked for, or where no person reads. */
  static of(terminal: Terminal, { json = false }: SessionFlags): Output {
    return new Output(terminal, json || terminal.isOutputTerminal !== true);
  }

  line(text: string): void {
    this.terminal.out(`${text}\n`);
  }

  /** A notice beside the output. */
  warn(text: string): void {
    this.terminal.error(`${text}\n`);
  }

  /** Messages: a line of JSON, or a row, for each. */
  list<Row extends object>(type: MessageType<Row>, rows: readonly Row[], columns: readonly Column<Row>[]): void {
    if (this.isJson) for (const row of rows) this.line(toJson(type, row));
    else this.table(rows, columns);
  }

  /** One message: a line of JSON, or a line for each of its keys. */
  one<Row extends object>(type: MessageType<Row>, row: Row): void {
    this.object(toJson(type, row));
  }

  /** @param json of an object */
  object(json: string): void {
    if (this.isJson) this.line(json);
    else this.#members(json);
  }

  #members(json: string): void {
    const members = membersOf(json);
    const width = Math.max(0, ...members.map(([key]) => key.length)) + 2;
    for (const [key, value] of members) this.line(`${`${key}:`.padEnd(width)}${plainText(value)}`.trimEnd());
  }

  table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): void {
    const cells = rows.map((row) => columns.map(([, text]) => printable(text(row))));
    const headings = columns.map(([heading]) => heading);
    for (const line of formatTable(headings, cells)) this.line(line);
  }
}

/** A string without its quotes, anything else as it is. */
function plainText(json: string): string {
  return json.startsWith('"') ? printable(String(JSON.parse(json))) : json;
}
