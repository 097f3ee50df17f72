import { expect } from 'chai';
import fc from 'fast-check';
import {
  capacityFor,
  geometryFor,
  grownSizeBytes,
  inodesWithoutLimit,
  neededBytes,
} from '../../../../lib/containers/oci/volumes/image-geometry.js';

const MiB = 1024 * 1024;
const limits = fc.record({
  bytes: fc.integer({ min: 1, max: 64 * 1024 }).map((mebibytes) => mebibytes * MiB),
  inodes: fc.integer({ min: 1, max: 2_000_000 }),
});

describe('the geometry of an image', () => {
  it('gives limits of one class the same capacity, twice of what is asked at least', () => {
    expect([1, 64 * MiB, 256 * MiB].map(capacityFor)).to.deep.equal([512 * MiB, 512 * MiB, 512 * MiB]);
    expect([257 * MiB, 512 * MiB].map(capacityFor)).to.deep.equal([1024 * MiB, 1024 * MiB]);
    fc.assert(fc.property(limits, ({ bytes }) => capacityFor(bytes) >= 2 * bytes));
  });

  it('always has room for the capacity, the inode tables and what the kernel keeps back', () => {
    fc.assert(
      fc.property(limits, ({ bytes, inodes }) => {
        const { sizeBytes, inodeCount } = geometryFor(bytes, inodes);
        const reserved = Math.min(sizeBytes / 50, 4096 * 4096);
        return inodeCount > inodes && sizeBytes > bytes + inodeCount * 256 + reserved * 0.9;
      }),
    );
  });

  it('never asks for more inodes in a group than its bitmap has bits', () => {
    fc.assert(
      fc.property(limits, ({ bytes, inodes }) => {
        const capacity = capacityFor(bytes);
        const { sizeBytes, inodeCount, blocksPerGroup } = geometryFor(capacity, inodes);
        return inodeCount / Math.floor(sizeBytes / 4096 / blocksPerGroup) <= 32_768;
      }),
    );
  });

  it('promises more room than the content alone, by a few percent at most', () => {
    fc.assert(
      fc.property(limits, ({ bytes }) => neededBytes(bytes) > bytes && neededBytes(bytes) < bytes * 1.005 + 32 * 4097),
    );
  });

  it('grows by whole groups until bytes and inodes fit', () => {
    const now = { sizeBytes: 1024 * MiB, usableBytes: 1000 * MiB, inodes: 10_000 };
    expect(grownSizeBytes({ bytes: 2048 * MiB, inodes: 0 }, now)).to.be.within(2100 * MiB, 2400 * MiB);
    expect(grownSizeBytes({ bytes: 0, inodes: 20_000 }, now)).to.be.within(2048 * MiB, 2400 * MiB);
    expect(grownSizeBytes({ bytes: 1, inodes: 1 }, now) % (128 * MiB)).to.equal(0);
  });

  it('leaves unlimited inodes to the bytes', () => {
    expect(inodesWithoutLimit(1)).to.equal(1024);
    expect(inodesWithoutLimit(400 * MiB)).to.equal(102_400);
    expect(inodesWithoutLimit(2 ** 50)).to.equal(4_000_000);
  });
});
