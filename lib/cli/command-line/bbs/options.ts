import { Argument, Option } from 'commander';

/** `-d`. */
export function domainOption(): Option {
  return new Option('-d, --domain <domain>', 'only those of this domain');
}

/** `-c`. */
export function cellIdOption(): Option {
  return new Option('-c, --cell-id <id>', 'only what concerns this cell');
}

/** JSON, a file of it, or standard input. */
export function specArgument(what: string): Argument {
  return new Argument('<spec>', `JSON ${what}; @FILE, or - for standard input`);
}
