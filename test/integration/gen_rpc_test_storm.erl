%% SPDX-License-Identifier: Apache-2.0
%% The ledger test: callers on all sites call all others, first when nothing is the matter, then
%% under faults at random, then in peace again.
-module(gen_rpc_test_storm).

-export([run/1]).

-import(gen_rpc_test_site, [call/4, node_name/1, wait/1]).

-type options() :: #{sites := pos_integer(), calls := pos_integer(), seed := integer(),
                     dir := file:filename()}.

-define(LEDGER, gen_rpc_test_ledger).

%% Callers on each site for each other one.
-define(CALLERS, 10).

%% Of all calls one in so many is made before the faults, and as many after them.
-define(CALM_ONE_IN, 20).

%% Faults that are there at once, each on a site of its own.
-define(AT_ONCE, 2).

%% How long a fault lasts, and the time until the next, ms: some shorter, some longer than it takes
%% a peer to notice.
-define(LONGEST, 5000).
-define(LONGEST_REST, 500).

%% How long one call is waited for that finds out whether a way is open again, ms.
-define(ONE_TRY, 1000).

%% How often the ledgers are looked at, ms.
-define(LOOK, 100).

-spec run(options()) -> gen_rpc_test_books:result().
run(#{sites := N, dir := Dir, calls := Calls} = Options) ->
    ok = filelib:ensure_path(Dir),
    Numbers = lists:seq(1, N),
    Storm = Options#{table => ets:new(sites, [public]),
                     ca => gen_rpc_test_certs:new(filename:join(Dir, "certs")),
                     alloc => gen_rpc_test_alloc:build(filename:join(Dir, "driver")),
                     wires => maps:from_list([{I, wires(I)} || I <- Numbers])},
    try
        lists:foreach(fun(I) -> prepare_site(Storm, I, 0) end, Numbers),
        lists:foreach(fun(I) -> serve(Storm, I) end, Numbers),
        ok = calm(Storm, 0, Calls div ?CALM_ONE_IN),
        ok = storm(Storm, 1000, Calls - 2 * (Calls div ?CALM_ONE_IN)),
        ok = calm(Storm, 2000, Calls div ?CALM_ONE_IN),
        report(Storm),
        Result = #{wrong := Wrong} = gen_rpc_test_books:check(Dir, killed(Storm)),
        Result#{wrong := lists:append([Wrong | [left(Site) || Site <- sites(Storm)]])}
    after
        lists:foreach(fun gen_rpc_test_site:stop/1, sites(Storm)),
        lists:foreach(fun gen_rpc_test_wire:stop/1, all_wires(Storm))
    end.

left(#{site := I} = Site) ->
    ok = call(Site, ?LEDGER, close, []),
    Left = gen_rpc_test_site:left(Site),
    {Before, After} = gen_rpc_test_site:memory(Site),
    say("site ~b: memory ~b kB before, ~b kB after", [I, Before div 1024, After div 1024]),
    Left.

report(#{table := Table}) ->
    Faults = [io_lib:format("~b ~s", [N, Fault])
              || {{fault, Fault}, N} <- lists:sort(ets:tab2list(Table))],
    say("faults: ~ts", [lists:join(", ", Faults)]).

say(Format, A) ->
    io:format(user, Format ++ "~n", A).

%%% Sites: {Number, Site, Life, Busy}, and {{killed, Life}}, {{fault, Fault}, Times}

prepare_site(#{dir := Dir, table := Table} = Storm, I, Life) ->
    Site = gen_rpc_test_site:prepare(I, options(Storm, I)),
    ok = call(Site, logger, update_handler_config, [gen_rpc_test_events, level, error]),
    Base = filename:join(Dir, lists:join($., [integer_to_list(X) || X <- [I, Life]])),
    ok = call(Site, ?LEDGER, open, [Base]),
    true = ets:insert(Table, {I, Site, Life, Life > 0}),
    ok.

%% When its ledger is open.
serve(#{table := Table} = Storm, I) ->
    true = ets:update_element(Table, I, {2, gen_rpc_test_site:serve(site(Storm, I))}),
    ok.

%% The driver of the last one can be made to run out of memory.
options(#{sites := N, ca := Ca, alloc := Alloc}, I) ->
    Cert = gen_rpc_test_certs:options(gen_rpc_test_certs:node(Ca, node_name(I))),
    Ways = maps:from_list([{node_name(J), way(I, J)} || J <- lists:seq(1, N), J =/= I]),
    [{client_config_per_node, {internal, Ways}}, {ssl_server_port, gen_rpc_test_site:port(ssl)},
     {ssl_server_options, Cert}, {ssl_client_options, Cert}
     | case I of N -> gen_rpc_test_alloc:options(Alloc); _ -> [] end].

%% Some over TLS, in both directions. Some by a wire that may become a bad one, in one of them.
way(From, To) ->
    Driver = case (From + To) rem 3 of 0 -> ssl; _ -> tcp end,
    {Driver, case From > To of
                 true -> wire_port(Driver);
                 false -> gen_rpc_test_site:port(Driver)
             end}.

wire_port(Driver) -> gen_rpc_test_site:port(Driver) + 1000.

wires(I) ->
    maps:from_list([{Driver, gen_rpc_test_wire:start(I, wire_port(Driver),
                                                     gen_rpc_test_site:port(Driver))}
                    || Driver <- [tcp, ssl]]).

all_wires(#{wires := Wires}) ->
    lists:append([maps:values(OfSite) || OfSite <- maps:values(Wires)]).

sites(#{table := Table}) ->
    [Site || [Site] <- ets:match(Table, {'_', '$1', '_', '_'})].

site(#{table := Table}, I) ->
    ets:lookup_element(Table, I, 2).

killed(#{table := Table}) ->
    [Life || [Life] <- ets:match(Table, {{killed, '$1'}})].

start_callers(Storm, Calm, First) ->
    lists:foreach(fun(I) -> start_callers(Storm, Calm, First, I) end,
                  lists:seq(1, maps:get(sites, Storm))).

start_callers(#{sites := N, seed := Seed, table := Table} = Storm, Calm, First, I) ->
    Plan = #{site => I, life => ets:lookup_element(Table, I, 3), seed => Seed, calm => Calm,
             first => First,
             servers => [{J, node_name(J), ?CALLERS}
                         || J <- lists:seq(1, N), J =/= I]},
    ok = call(site(Storm, I), ?LEDGER, start_callers, [Plan]).

stop_callers(Storm) ->
    lists:foreach(fun(Site) -> ok = call(Site, ?LEDGER, stop_callers, []) end, sites(Storm)).

%%% Calm and storm, until so many more calls have been made

%% All that is called then runs, so the servers get to know as many such numbers as the callers.
%% They may also get to know others still, of calls in the storm that nobody waits for any more.
calm(#{dir := Dir} = Storm, First, Calls) ->
    {CalledBefore, _} = gen_rpc_test_books:written(Dir),
    ok = start_callers(Storm, true, First),
    ok = await_calls(Storm, CalledBefore + Calls),
    ok = stop_callers(Storm),
    await_served(Storm).

%% The last casts may still be on their way. Those that never come are named.
await_served(#{dir := Dir} = Storm) ->
    try
        wait(fun() ->
                     {Called, Served} = gen_rpc_test_books:calm(Dir),
                     Called =:= Served
             end)
    catch
        error:condition_never_held ->
            #{wrong := Wrong} = gen_rpc_test_books:check(Dir, killed(Storm)),
            error({not_served, Wrong})
    end.

storm(#{seed := Seed, dir := Dir} = Storm, First, Calls) ->
    {CalledBefore, _} = gen_rpc_test_books:written(Dir),
    ok = start_callers(Storm, false, First),
    Self = self(),
    Faults = [spawn_link(fun() ->
                                 _ = rand:seed(exsss, {Seed, I, 0}),
                                 faults(Storm#{first => First}, []),
                                 Self ! {self(), healed}
                         end) || I <- lists:seq(1, ?AT_ONCE)],
    ok = await_calls(Storm, CalledBefore + Calls),
    ok = await_all_faults(Storm),
    lists:foreach(fun(Pid) -> Pid ! stop, receive {Pid, healed} -> ok end end, Faults),
    ok = stop_callers(Storm),
    await_all_ways(Storm).

await_calls(#{dir := Dir} = Storm, Calls) ->
    case gen_rpc_test_books:written(Dir) of
        {Called, _} when Called >= Calls -> ok;
        _ -> receive after ?LOOK -> await_calls(Storm, Calls) end
    end.

%% Few calls are made before each fault was there.
await_all_faults(#{table := Table} = Storm) ->
    case [Fault || Fault <- names(), not ets:member(Table, {fault, Fault})] of
        [] -> ok;
        _ -> receive after ?LOOK -> await_all_faults(Storm) end
    end.

%% Over each connection that callers use.
await_all_ways(Storm) ->
    Sites = sites(Storm),
    lists:foreach(fun({From, Node, Dest}) ->
                          Call = [Dest, erlang, node, [], ?ONE_TRY],
                          wait(fun() -> call(From, gen_rpc, call, Call) =:= Node end)
                  end, [{From, Node, Dest} || From <- Sites, To <- Sites, From =/= To,
                                              Node <- [gen_rpc_test_site:node(To)],
                                              Dest <- gen_rpc_test_ledger:dests(Node)]).

%%% Faults, one after the other, until it is told to stop: all of them by chance, then all again

faults(Storm, []) ->
    Names = names(),
    faults(Storm, [Name || {_, Name} <- lists:sort([{rand:uniform(), Name} || Name <- Names])]);
faults(#{table := Table} = Storm, [Fault | Rest]) ->
    receive stop -> ok
    after 0 ->
            I = take_site(Fault, Storm),
            _ = ets:update_counter(Table, {fault, Fault}, 1, {{fault, Fault}, 0}),
            ok = one_fault(Fault, Storm, I),
            true = ets:update_element(Table, I, {4, false}),
            ok = last(rand:uniform(?LONGEST_REST)),
            faults(Storm, Rest)
    end.

names() ->
    [killed, slow_wire, cut_wire, reset_wire, corrupt_wire, no_memory]
        ++ gen_rpc_test_faults:names() ++ [packets || gen_rpc_test_net:has_netem()].

last(Time) ->
    receive after Time -> ok end.

pick(List) ->
    lists:nth(rand:uniform(length(List)), List).

%% One that no other fault is at. Memory can only be short at the last one.
take_site(Fault, #{sites := N, table := Table} = Storm) ->
    I = case Fault of no_memory -> N; _ -> rand:uniform(N) end,
    case ets:select_replace(Table, [{{I, '$1', '$2', false}, [], [{{I, '$1', '$2', true}}]}]) of
        1 -> I;
        0 -> receive after 1 -> take_site(Fault, Storm) end
    end.

one_fault(killed, #{table := Table, first := First} = Storm, I) ->
    [{I, Site, Life, true}] = ets:lookup(Table, I),
    true = ets:insert(Table, {{killed, {I, Life}}}),
    ok = gen_rpc_test_site:kill(Site),
    ok = last(rand:uniform(?LONGEST)),
    ok = prepare_site(Storm, I, Life + 1),
    ok = serve(Storm, I),
    start_callers(Storm, false, First, I);
one_fault(no_memory, #{alloc := Alloc}, _I) ->
    ok = gen_rpc_test_alloc:fail_one_in(Alloc, 10 + rand:uniform(500)),
    ok = last(rand:uniform(?LONGEST)),
    gen_rpc_test_alloc:fail_one_in(Alloc, 0);
one_fault(packets, _Storm, I) ->
    ok = gen_rpc_test_net:impair(I, "loss 5% corrupt 2% duplicate 1% delay 5ms 5ms"),
    ok = last(rand:uniform(?LONGEST)),
    gen_rpc_test_net:repair(I);
one_fault(slow_wire, Storm, I) -> bad_wire(Storm, I, [tcp, ssl], #{delay => 20, split => true});
one_fault(cut_wire, Storm, I) -> bad_wire(Storm, I, [tcp, ssl], #{cut => 300});
one_fault(reset_wire, Storm, I) -> bad_wire(Storm, I, [tcp, ssl], #{reset => 300});
%% Plain TCP has nothing against a proxy that changes bytes.
one_fault(corrupt_wire, Storm, I) -> bad_wire(Storm, I, [ssl], #{corrupt => 300});
one_fault(Fault, #{sites := N} = Storm, I) ->
    Other = pick(lists:delete(I, lists:seq(1, N))),
    Heal = gen_rpc_test_faults:inject(Fault, site(Storm, I), Other),
    ok = last(rand:uniform(?LONGEST)),
    Heal().

bad_wire(#{wires := Wires}, I, Drivers, Mode) ->
    Bad = maps:values(maps:with(Drivers, maps:get(I, Wires))),
    lists:foreach(fun(Wire) -> gen_rpc_test_wire:set(Wire, Mode) end, Bad),
    ok = last(rand:uniform(?LONGEST)),
    lists:foreach(fun(Wire) -> gen_rpc_test_wire:set(Wire, #{}) end, Bad).
