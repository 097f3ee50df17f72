/** Why an agent takes no new work. */
export type IntakeClosure = 'evacuating' | 'shutting down';

/**
 * Whether the agent takes new apps and stagings (docs/protocol/dea.md §16): one answer for all wires that work comes
 * in on. Once closed it stays closed.
 */
export class Intake {
  private closure: IntakeClosure | undefined;

  get isOpen(): boolean {
    return this.closure === undefined;
  }

  /** Undefined while the intake is open. */
  get closedBecause(): IntakeClosure | undefined {
    return this.closure;
  }

  /** A shutdown closes an evacuation's intake once more, with its own reason. */
  close(reason: IntakeClosure): void {
    this.closure = reason;
  }
}
