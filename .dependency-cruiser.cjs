/**
 * Imports run downward only (docs/adr/0001-floors-and-rooms.md). Each floor names the rooms it holds;
 * a room may import from its own floor's ground or any floor below, never from above and never in a circle.
 */
const floors = [
  ['config', 'files', 'logging', 'process'],
  ['bus', 'database', 'http', 'locks', 'loggregator', 'metrics'],
  ['containers'],
  ['cell'],
  ['bbs', 'dea', 'lifecycle', 'locket'],
  ['build', 'certs', 'cli', 'garden', 'health-manager', 'mini-cc', 'router', 'standalone'],
];

const rooms = (names) => `^lib/(${names.join('|')})/`;

const downwardOnly = floors.slice(0, -1).map((names, level) => ({
  name: `floor-${level}-imports-downward-only`,
  comment: `${names.join(', ')} must not know the floors above`,
  severity: 'error',
  from: { path: rooms(names) },
  to: { path: rooms(floors.slice(level + 1).flat()) },
}));

module.exports = {
  forbidden: [
    ...downwardOnly,
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'every-room-has-a-floor',
      comment: 'a new folder under lib/ must be placed on a floor above',
      severity: 'error',
      from: { path: '^lib/' },
      to: { path: '^lib/', pathNot: rooms(floors.flat()) },
    },
    {
      name: 'components-do-not-know-each-other',
      comment:
        'bbs, dea, lifecycle and locket meet only in the cell and in files; programs on floor 5 meet in standalone',
      severity: 'error',
      from: { path: '^lib/(bbs|dea|lifecycle|locket)/' },
      to: { path: '^lib/(bbs|dea|lifecycle|locket)/', pathNot: '^lib/$1/' },
    },
    { name: 'no-orphans', severity: 'error', from: { orphan: true, pathNot: '\\.d\\.ts$|/main\\.ts$' }, to: {} },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'types'] },
  },
};
