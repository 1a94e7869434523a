// An Elasticsearch node with HTTP, from its Java archives alone. usage: ElasticsearchNode HOME
// HOME/config holds elasticsearch.yml and log4j2.properties; HOME/modules and HOME/plugins must be there, and are empty.

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.transport.Netty4Plugin;

final class ElasticsearchNode extends Node {
    private ElasticsearchNode(Environment environment) {
        super(environment, List.of(Netty4Plugin.class), false);
    }

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Settings settings = Settings.builder().put("path.home", home).build();
        Environment environment =
            InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), home.resolve("config"), () -> "local");
        LogConfigurator.registerErrorListener();
        LogConfigurator.configure(environment);
        CountDownLatch closed = new CountDownLatch(1);
        Node node = new ElasticsearchNode(environment);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (java.io.IOException fault) {
                fault.printStackTrace();
            }
            closed.countDown();
        }));
        node.start();
        closed.await();
    }
}
