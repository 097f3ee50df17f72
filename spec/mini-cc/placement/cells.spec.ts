import { expect } from 'chai';
import type { Bus, BusMessage } from '../../../lib/bus/bus.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import type { App } from '../../../lib/mini-cc/apps/app.js';
import { Cells } from '../../../lib/mini-cc/placement/cells.js';
import { anApp } from '../../support/apps.js';

/** Delivers by hand what would come from the bus. */
class HandBus {
  private readonly handlers = new Map<string, (message: BusMessage) => unknown>();

  readonly bus = {
    subscribe: (subject: string, handler: (message: BusMessage) => unknown) => {
      this.handlers.set(subject, handler);
      return { unsubscribe: () => void this.handlers.delete(subject) };
    },
  } as unknown as Bus;

  deliver(subject: string, data: unknown): void {
    this.handlers.get(subject)?.({ subject, data, hasReply: false, reply: () => {} });
  }
}

describe('the pools of cells', () => {
  let bus: HandBus;
  let cells: Cells;
  let now: number;
  let newStagers: number;
  const app: App = anApp({ memory: 512, disk_quota: 1024, stack: 'bookworm' });

  const advertise = (id: string, fields: Record<string, unknown> = {}) => {
    const common = { id, stacks: ['bookworm'], available_memory: 4096, available_disk: 8192 };
    bus.deliver('staging.advertise', { ...common, ...fields });
    bus.deliver('dea.advertise', { ...common, app_id_to_count: {}, ...fields });
  };

  beforeEach(() => {
    bus = new HandBus();
    now = 1_000_000;
    newStagers = 0;
    cells = new Cells({
      bus: bus.bus,
      advertisementTimeoutMs: 10_000,
      minimumStagingMemoryMb: 1024,
      minimumStagingDiskMb: 4096,
      logger: silentLogger,
      now: () => now,
      random: () => 0,
      onNewStager: () => {
        newStagers += 1;
      },
    });
    cells.start();
  });

  it('make a cell eligible with its first advertisement and forget it after ten silent seconds', () => {
    advertise('a');
    now += 9_999;
    expect(cells.placeInstance(app)).to.equal('a');
    now += 1;
    expect(() => cells.placeInstance(app))
      .to.throw('Insufficient resources')
      .with.property('name', 'InsufficientRunningResourcesAvailable');
  });

  it('remove a cell at its shutdown, for starts', () => {
    advertise('a');
    bus.deliver('dea.shutdown', { id: 'a', ip: '10.0.0.1', version: '0.0.1', app_id_to_count: {} });
    expect(() => cells.placeInstance(app)).to.throw('Insufficient resources');
    expect(cells.placeStaging(app)).to.equal('a');
  });

  it('spread ten instances by their number and respect memory, without new advertisements', () => {
    advertise('a', { available_memory: 2048 });
    advertise('b', { available_memory: 4096 });
    const placed = Array.from({ length: 10 }, () => cells.placeInstance(app));
    expect(placed.filter((id) => id === 'a')).to.have.length(4);
    expect(placed.filter((id) => id === 'b')).to.have.length(6);
    expect(placed.slice(0, 8).filter((id) => id === 'a')).to.have.length(4);
  });

  it('take the memory of starts and stagings off both pools', () => {
    advertise('a', { available_memory: 2048 });
    cells.placeInstance(app);
    cells.placeStaging(app);
    expect(cells.list()[0]).to.include({ available_memory: 2048 - 512 - 1024 });
    expect(() => cells.placeStaging(app)).to.throw('no available stagers');
  });

  it('believe the next advertisement more than their own reckoning', () => {
    advertise('a', { available_memory: 1024 });
    cells.placeStaging(app);
    advertise('a', { available_memory: 1024 });
    expect(cells.placeStaging(app)).to.equal('a');
  });

  it('do not stumble over a cell that advertises on one subject only', () => {
    bus.deliver('dea.advertise', {
      id: 'a',
      stacks: ['bookworm'],
      available_memory: 1024,
      available_disk: 8192,
      app_id_to_count: {},
    });
    expect(cells.placeInstance(app)).to.equal('a');
  });

  it('need for a staging at least the configured minimum', () => {
    advertise('a', { available_memory: 1023 });
    expect(() => cells.placeStaging(app)).to.throw('no available stagers');
  });

  it('tell an unknown stack from one whose stagers are gone', () => {
    expect(() => cells.placeStaging(app))
      .to.throw('The requested app stack bookworm is not available on this system.')
      .with.property('status', 404);
    advertise('a');
    now += 10_000;
    expect(() => cells.placeStaging(app))
      .to.throw('no available stagers')
      .with.property('name', 'StagingError');
  });

  it('notice a stager only when it is new', () => {
    advertise('a');
    advertise('a');
    advertise('b');
    expect(newStagers).to.equal(2);
  });

  it('ignore advertisements that are malformed, or whose id would not fit into a subject', () => {
    for (const id of ['a.b', '*', '>', 'a b', '']) advertise(id);
    bus.deliver('dea.advertise', 'rubbish');
    bus.deliver('dea.advertise', { id: 'x', stacks: 'bookworm', available_memory: 4096 });
    expect(cells.list()).to.deep.equal([]);
  });
});
