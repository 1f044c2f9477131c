%% SPDX-License-Identifier: Apache-2.0
%% What a node has of everything that must not grow, and whether a series of samples, each taken at
%% rest, is flat.
-module(gen_rpc_soak_sample).

-export([take/0, take_at_rest/0, is_at_rest/0, line/1, judge/1]).

-type t() :: #{atom() => non_neg_integer()}.
-type check() :: {boolean(), What :: string()}.
-export_type([t/0, check/0]).

-define(KIB, 1024).
-define(MIB, 1048576).

%% By how much a value may be more at the end than after the warm-up. Atoms: of modules that are
%% loaded late, for an error that had not been before. Memory: what fragmentation and the VM's own
%% caches make of it; some minutes with a leak of 100 bytes for each connection or for a thousand
%% calls are more. RSS: the VM's allocators give memory back late and by carriers.
tolerances() ->
    [{ports, 0}, {fds, 0}, {processes, 0}, {ets_tables, 0}, {atoms, 50},
     {driver, 32 * ?KIB}, {ets, 256 * ?KIB}, {binary, 512 * ?KIB}, {process_memory, 2 * ?MIB},
     {total, 4 * ?MIB}, {rss, 48 * ?MIB}].

%% Those whose trend is looked at, too: counts are compared exactly anyway.
trends() ->
    [driver, ets, binary, process_memory, total, rss].

-spec take() -> t().
take() ->
    #{ports := Ports, fds := Fds, processes := Processes, ets := Tables} =
        gen_rpc_test_node:local_resources(),
    Memory = maps:from_list(erlang:memory([total, processes_used, binary, ets])),
    #{ports => Ports, fds => Fds, processes => Processes, ets_tables => Tables,
      atoms => erlang:system_info(atom_count), driver => gen_rpc_test_node:local_driver_memory(),
      ets => maps:get(ets, Memory), binary => maps:get(binary, Memory),
      process_memory => maps:get(processes_used, Memory), total => maps:get(total, Memory),
      rss => gen_rpc_test_node:system_memory()}.

%% Without garbage, which is not what is measured.
-spec take_at_rest() -> t().
take_at_rest() ->
    _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
    take().

%% Nobody is connected, either way.
-spec is_at_rest() -> boolean().
is_at_rest() ->
    ets:info(gen_rpc_registry, size) =:= 0 andalso
        supervisor:which_children(gen_rpc_acceptor_sup) =:= [] andalso
        supervisor:which_children(gen_rpc_client_sup) =:= [].

-spec line(t()) -> iolist().
line(Sample) ->
    lists:join(" ", [[atom_to_list(What), "=", format(What, maps:get(What, Sample))]
                     || {What, _} <- tolerances()]).

format(What, Value) ->
    case lists:member(What, trends()) of
        true -> io_lib:format("~.2fM", [Value / ?MIB]);
        false -> integer_to_list(Value)
    end.

%% The first one is that after the warm-up; there are two more at least.
-spec judge([t(), ...]) -> [check()].
judge([First | _] = Samples) ->
    Last = lists:last(Samples),
    [is_flat(What, Tolerance, maps:get(What, First), maps:get(What, Last))
     || {What, Tolerance} <- tolerances()] ++
        [has_no_trend(What, proplists:get_value(What, tolerances()),
                      [maps:get(What, Sample) || Sample <- Samples])
         || What <- trends()].

is_flat(What, Tolerance, First, Last) ->
    {Last - First =< Tolerance andalso (Tolerance > 0 orelse Last =:= First),
     lists:flatten(io_lib:format("~s: ~s after the warm-up, ~s at the end",
                                 [What, format(What, First), format(What, Last)]))}.

%% The line of least squares through all samples, from the first to the last one.
has_no_trend(What, Tolerance, Values) ->
    Count = length(Values),
    Times = lists:seq(1, Count),
    MeanTime = lists:sum(Times) / Count,
    MeanValue = lists:sum(Values) / Count,
    Slope = lists:sum([(T - MeanTime) * (V - MeanValue) || {T, V} <- lists:zip(Times, Values)]) /
        lists:sum([(T - MeanTime) * (T - MeanTime) || T <- Times]),
    Growth = Slope * (Count - 1),
    {Growth =< Tolerance,
     lists:flatten(io_lib:format("~s: a trend of ~.2fM over ~b samples at rest",
                                 [What, Growth / ?MIB, Count]))}.
