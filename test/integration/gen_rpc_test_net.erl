%% SPDX-License-Identifier: Apache-2.0
%% A network of the test's own: for each site a network namespace with an address, joined by a
%% router, which is the namespace that test/run_integration has made for the whole run. Faults are made with
%% `ip' and `tc', none of them by the sites themselves.
%%
%% What can hurt: outside of such a namespace this would change the machine's own network. So it
%% makes nothing where there is any link but loopback.
-module(gen_rpc_test_net).

-export([create/1, destroy/1, clear/1, address/1, namespace/1]).
-export([unplug/1, plug/1, link_down/1, link_up/1, block/3, unblock/3]).
-export([has_netem/0, impair/2, repair/1, port_range/1, set_port_range/2]).
-export([cmd/1]).

%% Sites have the numbers from 1 on.
-type site() :: 1..254.
-export_type([site/0]).

%% As Linux has it.
-define(PORT_RANGE, {32768, 60999}).

%% What one command may take, ms.
-define(TIMEOUT, 10000).

-spec create(site()) -> ok.
create(N) ->
    [{"lo", _}] = links(),
    ok = file:write_file("/proc/sys/net/ipv4/ip_forward", "1"),
    lists:foreach(fun create_site/1, lists:seq(1, N)).

links() ->
    [{Name, Rest} || Line <- string:lexemes(cmd("ip -o link"), "\n"),
                     [_, Name | Rest] <- [string:lexemes(Line, ": ")]].

create_site(I) ->
    Ns = namespace(I),
    cmd(["ip netns add ", Ns]),
    cmd(["ip link add ", router_end(I), " type veth peer name eth0 netns ", Ns]),
    cmd(["ip addr add ", router_address(I), "/24 dev ", router_end(I)]),
    cmd(["ip link set ", router_end(I), " up"]),
    cmd(["ip -n ", Ns, " link set lo up"]),
    cmd(["ip -n ", Ns, " addr add ", address(I), "/24 dev eth0"]),
    link_up(I).

-spec destroy(site()) -> ok.
destroy(N) ->
    lists:foreach(fun(I) ->
                          _ = cmd(["ip link del ", router_end(I)]),
                          cmd(["ip netns del ", namespace(I)])
                  end, lists:seq(1, N)).

%% Ends all processes of all sites, and mends what a test that has failed has left broken.
-spec clear(site()) -> ok.
clear(N) ->
    lists:foreach(fun(I) ->
                          ok = end_processes(I),
                          ok = set_port_range(I, ?PORT_RANGE),
                          ok = plug(I),
                          ok = link_up(I)
                  end, lists:seq(1, N)),
    ok = flush_rule("100"),
    flush_rule("101").

end_processes(I) ->
    case string:lexemes(cmd(["ip netns pids ", namespace(I)]), "\n") of
        [] ->
            ok;
        Pids ->
            %% Some may be gone in the meantime.
            _ = run(["kill -9 ", lists:join(" ", Pids)]),
            end_processes(I)
    end.

%% There may be several of that number.
flush_rule(Number) ->
    _ = cmd(["while ip rule del pref ", Number, " 2>/dev/null; do :; done"]),
    ok.

-spec namespace(site()) -> string().
namespace(I) -> "site" ++ integer_to_list(I).

-spec address(site()) -> string().
address(I) -> "10.77." ++ integer_to_list(I) ++ ".2".

router_address(I) -> "10.77." ++ integer_to_list(I) ++ ".1".

router_end(I) -> "to" ++ integer_to_list(I).

%%% Faults

%% As when somebody pulls the cable: the site keeps its address and its routes.
-spec unplug(site()) -> ok.
unplug(I) -> link(I, "down").

-spec plug(site()) -> ok.
plug(I) -> link(I, "up").

link(I, State) ->
    _ = cmd(["ip link set ", router_end(I), " ", State]),
    ok.

%% As when an administrator does it: the routes of the site are gone.
-spec link_down(site()) -> ok.
link_down(I) ->
    _ = cmd(["ip -n ", namespace(I), " link set eth0 down"]),
    ok.

-spec link_up(site()) -> ok.
link_up(I) ->
    _ = cmd(["ip -n ", namespace(I), " link set eth0 up"]),
    _ = cmd(["ip -n ", namespace(I), " route replace default via ", router_address(I)]),
    ok.

%% The router drops what goes from one site to the other and not what comes back, and tells nobody.
%% Either the first is `deaf' to the second, or it is `mute'.
-spec block(deaf | mute, site(), site()) -> ok.
block(How, I, Other) -> rule("add", How, I, Other).

-spec unblock(deaf | mute, site(), site()) -> ok.
unblock(How, I, Other) -> rule("del", How, I, Other).

%% If each of two sites has one of these faults with the other, that may be the same rule twice, and
%% so it has a number of its own.
rule(What, deaf, I, Other) -> rule(What, "100", {Other, I});
rule(What, mute, I, Other) -> rule(What, "101", {I, Other}).

rule(What, Number, {From, To}) ->
    _ = cmd(["ip rule ", What, " pref ", Number, " from ", address(From), " to ", address(To),
             " blackhole"]),
    ok.

%% Whether this kernel can lose, delay and corrupt packets.
-spec has_netem() -> boolean().
has_netem() ->
    {Status, _} = run("tc qdisc add dev lo root netem delay 1ms && tc qdisc del dev lo root"),
    Status =:= 0.

%% What goes to and comes from a site suffers this, in the words of tc-netem(8).
-spec impair(site(), string()) -> ok.
impair(I, How) ->
    _ = cmd(["tc qdisc replace dev ", router_end(I), " root netem ", How]),
    _ = cmd(["tc -n ", namespace(I), " qdisc replace dev eth0 root netem ", How]),
    ok.

-spec repair(site()) -> ok.
repair(I) ->
    _ = cmd(["tc qdisc del dev ", router_end(I), " root"]),
    _ = cmd(["tc -n ", namespace(I), " qdisc del dev eth0 root"]),
    ok.

%% From which a site takes the ports of its outgoing connections.
-spec port_range(site()) -> {inet:port_number(), inet:port_number()}.
port_range(I) ->
    [First, Last] = string:lexemes(cmd(["ip netns exec ", namespace(I), " cat ", range_file()]),
                                   "\t\n "),
    {list_to_integer(First), list_to_integer(Last)}.

-spec set_port_range(site(), {inet:port_number(), inet:port_number()}) -> ok.
set_port_range(I, {First, Last}) ->
    _ = cmd(io_lib:format("ip netns exec ~s sh -c 'echo ~b ~b >~s'",
                          [namespace(I), First, Last, range_file()])),
    ok.

range_file() -> "/proc/sys/net/ipv4/ip_local_port_range".

%%% Commands

%% Runs a command of the shell, and fails if it does.
-spec cmd(iodata()) -> string().
cmd(Command) ->
    case run(Command) of
        {0, Output} -> Output;
        {Status, Output} -> error({command_failed, lists:flatten(Command), Status, Output})
    end.

run(Command) ->
    gen_rpc_test_command:run("/bin/sh", ["-c", Command], ?TIMEOUT).
