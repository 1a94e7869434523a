import com.netflix.fenzo.ConstraintEvaluator;
import com.netflix.fenzo.SchedulingResult;
import com.netflix.fenzo.TaskRequest;
import com.netflix.fenzo.TaskScheduler;
import com.netflix.fenzo.VMAssignmentResult;
import com.netflix.fenzo.VMTaskFitnessCalculator;
import com.netflix.fenzo.VirtualMachineLease;
import com.netflix.fenzo.plugins.BinPackingFitnessCalculators;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.mesos.Protos;

/**
 * Places requests on hosts with Netflix Fenzo's bin packing by CPU and memory, a round at a time, as standard input asks.
 *
 * <p>Lines in: "host NAME CPU_MILLIS MEM_MIB" and "request ID CPU_MILLIS MEM_MIB", then "round" for each round. Line out,
 * one a round: nanoseconds of scheduleOnce, requests placed, hosts used. The end of the input ends the program.
 */
public final class Peer {
    private record Host(String name, int cpuMillis, int memMib) {}

    private static final long NEVER_S = 1_000_000;

    public static void main(String[] arguments) throws Exception {
        List<Host> hosts = new ArrayList<>();
        List<TaskRequest> requests = new ArrayList<>();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "host" -> hosts.add(new Host(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3])));
                case "request" ->
                    requests.add(new Request(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3])));
                case "round" -> System.out.println(round(hosts, requests));
                default -> throw new IllegalArgumentException("unknown line: " + line);
            }
        }
    }

    private static String round(List<Host> hosts, List<TaskRequest> requests) {
        TaskScheduler scheduler =
                new TaskScheduler.Builder()
                        .withFitnessCalculator(BinPackingFitnessCalculators.cpuMemBinPacker)
                        .withLeaseOfferExpirySecs(NEVER_S)
                        .withLeaseRejectAction(lease -> {})
                        .disableShortfallEvaluation()
                        .build();
        List<VirtualMachineLease> leases = new ArrayList<>();
        for (Host host : hosts) {
            leases.add(new Lease(host));
        }
        for (TaskRequest request : requests) {
            request.setAssignedResources(null);
        }
        System.gc();
        long started = System.nanoTime();
        SchedulingResult result = scheduler.scheduleOnce(requests, leases);
        long nanoseconds = System.nanoTime() - started;
        scheduler.shutdown();
        int placed = 0;
        for (VMAssignmentResult assigned : result.getResultMap().values()) {
            placed += assigned.getTasksAssigned().size();
        }
        return nanoseconds + " " + placed + " " + result.getResultMap().size();
    }

    private static final class Request implements TaskRequest {
        private final String id;
        private final double cpus;
        private final double memMib;
        private AssignedResources assigned;

        Request(String id, int cpuMillis, int memMib) {
            this.id = id;
            this.cpus = cpuMillis / 1000.0;
            this.memMib = memMib;
        }

        @Override
        public String getId() {
            return id;
        }

        @Override
        public String taskGroupName() {
            return "";
        }

        @Override
        public double getCPUs() {
            return cpus;
        }

        @Override
        public double getMemory() {
            return memMib;
        }

        @Override
        public double getNetworkMbps() {
            return 0;
        }

        @Override
        public double getDisk() {
            return 0;
        }

        @Override
        public int getPorts() {
            return 0;
        }

        @Override
        public Map<String, Double> getScalarRequests() {
            return Collections.emptyMap();
        }

        @Override
        public Map<String, NamedResourceSetRequest> getCustomNamedResources() {
            return Collections.emptyMap();
        }

        @Override
        public List<? extends ConstraintEvaluator> getHardConstraints() {
            return Collections.emptyList();
        }

        @Override
        public List<? extends VMTaskFitnessCalculator> getSoftConstraints() {
            return Collections.emptyList();
        }

        @Override
        public void setAssignedResources(AssignedResources resources) {
            assigned = resources;
        }

        @Override
        public AssignedResources getAssignedResources() {
            return assigned;
        }
    }

    private static final class Lease implements VirtualMachineLease {
        private final Host host;
        private final long offeredAt = System.currentTimeMillis();

        Lease(Host host) {
            this.host = host;
        }

        @Override
        public String getId() {
            return "offer-" + host.name();
        }

        @Override
        public long getOfferedTime() {
            return offeredAt;
        }

        @Override
        public String hostname() {
            return host.name();
        }

        @Override
        public String getVMID() {
            return host.name();
        }

        @Override
        public double cpuCores() {
            return host.cpuMillis() / 1000.0;
        }

        @Override
        public double memoryMB() {
            return host.memMib();
        }

        @Override
        public double networkMbps() {
            return 0;
        }

        @Override
        public double diskMB() {
            return 0;
        }

        @Override
        public List<Range> portRanges() {
            return Collections.emptyList();
        }

        @Override
        public Protos.Offer getOffer() {
            return null;
        }

        @Override
        public Map<String, Protos.Attribute> getAttributeMap() {
            return Collections.emptyMap();
        }

        @Override
        public Double getScalarValue(String name) {
            return null;
        }

        @Override
        public Map<String, Double> getScalarValues() {
            return Collections.emptyMap();
        }
    }
}
