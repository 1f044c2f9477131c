%% SPDX-License-Identifier: Apache-2.0
%% What test/run_asan asks of itself first: whether a node as the suites start it has the sanitized
%% driver, and whether what a faulty driver does in such a node is reported.
-module(gen_rpc_test_faulty).

-export([main/1]).

-define(FAULTY, "gen_rpc_faulty_drv").

%% The directory of the faulty driver, and the number of a fault; 0 is none.
-spec main([string()]) -> no_return().
main([Dir, Fault]) ->
    Node = gen_rpc_test_node:start([]),
    [true = is_mapped(Node, Library) || Library <- ["/libasan.", driver()]],
    Monitor = monitor(process, maps:get(peer, Node)),
    _ = try gen_rpc_test_node:run(Node, fun() -> commit(Dir, list_to_integer(Fault)) end)
        catch exit:_ -> died
        end,
    true = unlink(maps:get(peer, Node)),
    ok = gen_rpc_test_node:stop(Node),
    receive {'DOWN', Monitor, process, _, _} -> halt() end.

driver() ->
    filename:join(code:priv_dir(gen_rpc), "gen_rpc_drv.so").

is_mapped(Node, Library) ->
    {ok, Maps} = file:read_file("/proc/" ++ gen_rpc_test_node:os_pid(Node) ++ "/maps"),
    binary:match(Maps, list_to_binary(Library)) =/= nomatch.

%% The driver goes with the process that has loaded it.
commit(Dir, Fault) ->
    ok = erl_ddll:load_driver(Dir, ?FAULTY),
    port_control(open_port({spawn_driver, ?FAULTY}, []), Fault, []).
