import { expect } from 'chai';
import { ProjectIds } from '../../../../../lib/containers/oci/volumes/quota/project-ids.js';
import { projectOf } from '../../../../../lib/containers/oci/volumes/quota/project-quota.js';

describe('project numbers', () => {
  it('are taken in turn, and not again before all others were', () => {
    const ids = new ProjectIds('/depot');
    const first = ids.take();
    ids.release(first);
    expect(ids.take()).to.equal(first + 1);
  });

  it('are not those that volumes have already', () => {
    const first = new ProjectIds('/depot').take();
    const ids = new ProjectIds('/depot');
    ids.occupy(first);
    ids.occupy(first + 1);
    expect(ids.take()).to.equal(first + 2);
  });

  it('are above those of people, within 32 bits, and differ between engines', () => {
    const numbers = ['/a', '/b', '/c'].map((owner) => new ProjectIds(owner).take());
    for (const number of numbers) expect(number).to.be.within(2 ** 20, 2 ** 31);
    expect(new Set(numbers).size).to.equal(3);
  });

  it('begin again at the end of their range, and say so when none is left', () => {
    const ids = new ProjectIds('/depot');
    const first = ids.take();
    for (let count = 1; count < 2 ** 16; count += 1) ids.take();
    expect(() => ids.take()).to.throw('are taken');
    ids.release(first);
    expect(ids.take()).to.equal(first);
  });

  it('stand in the names of volumes, and in no other', () => {
    expect(projectOf('/depot/@volumes/0a1b2c3d4e5f.1048577')).to.equal(1_048_577);
    expect(projectOf('/depot/@volumes/0a1b2c3d4e5f')).to.equal(undefined);
    expect(projectOf('/depot.17/@volumes/half-made')).to.equal(undefined);
    expect(projectOf('/depot/@volumes/x.12345678901')).to.equal(undefined);
  });
});
