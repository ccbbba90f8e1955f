import { EmbeddedServer, TemporaryDirectory } from '../../src/testing';

/** A server whose databases can be split: it says in its WAL what logical replication needs. */
const SETTINGS = { wal_level: 'logical', max_wal_senders: '20', max_replication_slots: '20' };

/** A server without a standby, to be killed: it comes back with the same data on the same port. */
export class LoneServer {
  private constructor(
    public writable: EmbeddedServer,
    private readonly folder: TemporaryDirectory,
  ) {}

  static async start(): Promise<LoneServer> {
    const folder = new TemporaryDirectory();
    try {
      const { dataDirectory } = folder;
      return new LoneServer(await EmbeddedServer.start({ dataDirectory, settings: SETTINGS }), folder);
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  /** @param meanwhile is done while nobody answers */
  async crash(meanwhile: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const { port } = this.writable;
    await this.writable.kill();
    await meanwhile();
    this.writable = await EmbeddedServer.start({ dataDirectory: this.folder.dataDirectory, port, settings: SETTINGS });
  }

  async remove(): Promise<void> {
    await this.folder.remove();
  }
}
