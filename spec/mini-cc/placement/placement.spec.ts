import { expect } from 'chai';
import { type DeaAdvertisement, deaAdvertisementSchema } from '../../../lib/mini-cc/messages.js';
import { chooseDea, chooseStager } from '../../../lib/mini-cc/placement/placement.js';

const need = { memoryMb: 256, diskMb: 1024, stack: 'bookworm', appGuid: 'app' };

function cell(id: string, overrides: Record<string, unknown> = {}): DeaAdvertisement {
  return deaAdvertisementSchema.parse({
    id,
    stacks: ['bookworm'],
    available_memory: 4096,
    available_disk: 8192,
    app_id_to_count: {},
    ...overrides,
  });
}

/** Every random number that matters for a handful of candidates. */
function idsChosen(choose: (random: () => number) => { id: string } | undefined): string[] {
  const draws = Array.from({ length: 200 }, (_unused, draw) => choose(() => draw / 200)?.id ?? 'none');
  return [...new Set(draws)].sort();
}

const placedOn = (cells: DeaAdvertisement[]) => idsChosen((random) => chooseDea(cells, need, random));

describe('placement of an instance', () => {
  it('chooses nobody when nobody is there', () => {
    expect(placedOn([])).to.deep.equal(['none']);
  });

  it('takes only cells with enough memory, enough disk and the stack', () => {
    const cells = [
      cell('little-memory', { available_memory: 255 }),
      cell('little-disk', { available_disk: 1023 }),
      cell('other-stack', { stacks: ['lucid64'] }),
      cell('exact', { available_memory: 256, available_disk: 1024 }),
    ];
    expect(placedOn(cells)).to.deep.equal(['exact']);
  });

  it('counts absent disk and null disk as enough', () => {
    expect(placedOn([cell('absent', { available_disk: undefined })])).to.deep.equal(['absent']);
    expect(placedOn([cell('null', { available_disk: null })])).to.deep.equal(['null']);
  });

  it('forgives absent counts, stacks and placement properties', () => {
    const cells = [cell('no-counts', { app_id_to_count: null }), cell('no-stacks', { stacks: null })];
    expect(placedOn(cells)).to.deep.equal(['no-counts']);
  });

  it('chooses the zone with the fewest instances, even if another has emptier cells with more memory', () => {
    const zone = (name: string) => ({ placement_properties: { zone: name } });
    const cells = [
      cell('a1', { ...zone('a'), app_id_to_count: { app: 2 } }),
      cell('a2', { ...zone('a'), available_memory: 16_384 }),
      cell('b1', { ...zone('b'), app_id_to_count: { app: 1 }, available_memory: 512 }),
      cell('b2', { ...zone('b'), available_memory: 512 }),
    ];
    expect(placedOn(cells)).to.deep.equal(['b2']);
  });

  it('counts instances per zone over cells that do not fit, too', () => {
    const cells = [
      cell('a-full', { placement_properties: { zone: 'a' }, app_id_to_count: { app: 3 }, available_memory: 0 }),
      cell('a-free', { placement_properties: { zone: 'a' } }),
      cell('b-free', { placement_properties: { zone: 'b' }, app_id_to_count: { app: 1 } }),
    ];
    expect(placedOn(cells)).to.deep.equal(['b-free']);
  });

  it('treats a missing zone as the zone "default"', () => {
    const cells = [
      cell('none', { app_id_to_count: { app: 1 } }),
      cell('named', { placement_properties: { zone: 'default' } }),
      cell('other', { placement_properties: { zone: 'z' }, app_id_to_count: { app: 2 } }),
    ];
    expect(placedOn(cells)).to.deep.equal(['named']);
  });

  it('takes, among cells of one zone, those with the fewest instances, and of two the one with more memory', () => {
    const cells = [
      cell('busy', { available_memory: 8192, app_id_to_count: { app: 1 } }),
      cell('four', { available_memory: 4096 }),
      cell('two', { available_memory: 2048 }),
    ];
    expect(placedOn(cells)).to.deep.equal(['four']);
  });

  it('draws from the upper half by memory', () => {
    const cells = [1024, 2048, 3072].map((available_memory) => cell(`m${available_memory}`, { available_memory }));
    expect(placedOn(cells)).to.deep.equal(['m2048', 'm3072']);
  });
});

describe('placement of a staging', () => {
  const stagedOn = (cells: DeaAdvertisement[]) => idsChosen((random) => chooseStager(cells, need, random));

  it('draws from the five stagers with the most memory', () => {
    const cells = Array.from({ length: 8 }, (_unused, n) => cell(`s${n}`, { available_memory: 1024 * (n + 1) }));
    expect(stagedOn(cells.reverse())).to.deep.equal(['s3', 's4', 's5', 's6', 's7']);
  });

  it('takes only stagers with enough memory, enough disk and the stack', () => {
    const cells = [
      cell('little-memory', { available_memory: 255 }),
      cell('little-disk', { available_disk: 1023 }),
      cell('other-stack', { stacks: [] }),
    ];
    expect(stagedOn(cells)).to.deep.equal(['none']);
    expect(stagedOn([...cells, cell('fits')])).to.deep.equal(['fits']);
  });
});
