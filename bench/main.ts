import { benchBbs } from './bbs/bbs.js';
import { benchLargeBoard } from './bbs/large-board.js';
import { benchCell } from './cell.js';
import { benchContainers } from './containers.js';
import { printFigures } from './figure.js';
import { benchFiles } from './files.js';
import { benchGarden } from './garden.js';
import { benchHealthManager } from './health-manager.js';

const benches = {
  containers: async () => [...(await benchContainers()), ...(await benchGarden())],
  cell: benchCell,
  'health-manager': benchHealthManager,
  files: benchFiles,
  bbs: async () => [...(await benchBbs()), ...(await benchLargeBoard())],
};
const wanted = process.argv.slice(2);
for (const name of wanted) {
  if (!(name in benches)) {
    process.stderr.write(`Usage: npm run bench [-- ${Object.keys(benches).join(' ')}]\n`);
    process.exit(1);
  }
}

for (const [name, bench] of Object.entries(benches)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  process.stdout.write(`\n${name}\n`);
  printFigures(await bench());
}
