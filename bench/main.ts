import { benchCell } from './cell.js';
import { benchContainers } from './containers.js';
import { printFigures } from './figure.js';
import { benchGarden } from './garden.js';

const benches = {
  containers: async () => [...(await benchContainers()), ...(await benchGarden())],
  cell: benchCell,
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
