import type { DeaAdvertisement, StagerAdvertisement } from '../messages.js';

/** What an instance or a staging needs; MB. */
export interface Need {
  memoryMb: number;
  diskMb: number;
  stack: string;
}

/** Gives a number from 0 up to, without, 1. */
export type Random = () => number;

/** Stagers with the most memory that are drawn from. */
const topStagers = 5;

/**
 * Chooses the cell for one more instance of an app: zones with the fewest instances, then cells with the fewest, then
 * the upper half by memory, then at random (docs/protocol/legacy-cc.md §2.4). Pure.
 *
 * @param advertisements the living ones, in any order
 */
export function chooseDea(
  advertisements: DeaAdvertisement[],
  need: Need & { appGuid: string },
  random: Random,
): DeaAdvertisement | undefined {
  const countOf = (advertisement: DeaAdvertisement) => advertisement.app_id_to_count[need.appGuid] ?? 0;
  const perZone = new Map<string, number>();
  for (const advertisement of advertisements) {
    const zone = zoneOf(advertisement);
    perZone.set(zone, (perZone.get(zone) ?? 0) + countOf(advertisement));
  }
  const fitting = advertisements.filter((advertisement) => fits(advertisement, need));
  const inZones = smallest(fitting, (advertisement) => perZone.get(zoneOf(advertisement)) ?? 0);
  const emptiest = smallest(inZones, countOf);
  return pick(upperHalf(emptiest), random);
}

/**
 * Chooses the stager: one of the five with the most memory, at random (docs/protocol/legacy-cc.md §2.5). Pure.
 *
 * @param advertisements the living ones, in any order
 */
export function chooseStager(
  advertisements: StagerAdvertisement[],
  need: Need,
  random: Random,
): StagerAdvertisement | undefined {
  const fitting = advertisements.filter((advertisement) => fits(advertisement, need));
  return pick(byMemory(fitting).slice(-topStagers), random);
}

function fits(advertisement: StagerAdvertisement, need: Need): boolean {
  return (
    advertisement.available_disk >= need.diskMb &&
    advertisement.available_memory >= need.memoryMb &&
    advertisement.stacks.includes(need.stack)
  );
}

function zoneOf(advertisement: DeaAdvertisement): string {
  return advertisement.placement_properties.zone;
}

/** Those for which `measure` is smallest. */
function smallest<Item>(items: Item[], measure: (item: Item) => number): Item[] {
  const minimum = Math.min(...items.map(measure));
  return items.filter((item) => measure(item) === minimum);
}

function byMemory<Item extends StagerAdvertisement>(items: Item[]): Item[] {
  return [...items].sort((a, b) => a.available_memory - b.available_memory);
}

function upperHalf<Item extends StagerAdvertisement>(items: Item[]): Item[] {
  const sorted = byMemory(items);
  const threshold = sorted[Math.floor(sorted.length / 2)]?.available_memory;
  return threshold === undefined ? [] : sorted.filter((item) => item.available_memory >= threshold);
}

function pick<Item>(items: Item[], random: Random): Item | undefined {
  return items[Math.floor(random() * items.length)];
}
