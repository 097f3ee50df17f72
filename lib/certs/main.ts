import { parseArgs } from 'node:util';
import { type Made, makeCertificates } from './certificates.js';

const usage = 'Usage: certs [--force] DIR\n';
const help = `${usage}
Makes a development authority and certificates of it for all components in DIR: ca.crt, ca.key, and a pair such as
bbs.crt and bbs.key for each. What is there and good stays; what is damaged, of another authority, or about to expire
is made anew. With another authority all is, and every component needs the new ca.crt.

  --force    make all anew, the authority too
  --help     show this text

These certificates are for development: the authority's key lies beside them.
`;

run(process.argv.slice(2)).catch((error: Error) => {
  process.stderr.write(`certs: ${error.message}\n`);
  process.exitCode = 1;
});

async function run(args: string[]): Promise<void> {
  const { values, positionals } = parse(args);
  if (values.help) {
    process.stdout.write(help);
    return;
  }
  const [directory] = positionals;
  if (directory === undefined || positionals.length > 1) throw new Error(`one directory is needed\n${usage.trimEnd()}`);
  const made = await makeCertificates({ directory, force: values.force ?? false });
  process.stdout.write(made.map(describe).join(''));
}

function parse(args: string[]) {
  return parseArgs({
    args,
    allowPositionals: true,
    options: { force: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  });
}

function describe({ name, reason }: Made): string {
  return reason === undefined ? `${name}: kept\n` : `${name}: made (${reason})\n`;
}
