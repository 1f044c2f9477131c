%% SPDX-License-Identifier: Apache-2.0
%% Makes a node have as many processes as it may have. Nothing can be run there over its standard
%% input until it is free again, so a file says when.
-module(gen_rpc_test_full).

-export([fill/3, fill/4, free/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).

%% Returns once every call from the client is refused; with what to give to free/1.
-spec fill(proplists:proplist(), gen_rpc_test_node:t(), gen_rpc_test_node:t()) -> file:filename().
fill(Config, Client, Server) ->
    fill(Config, Client, Server, fun() -> ok end).

%% Once it is full it runs a function there.
-spec fill(proplists:proplist(), gen_rpc_test_node:t(), gen_rpc_test_node:t(), fun(() -> term())) ->
          file:filename().
fill(Config, Client, #{node := Node} = Server, WhenFull) ->
    File = filename:join(proplists:get_value(priv_dir, Config),
                         "free_" ++ integer_to_list(erlang:unique_integer([positive]))),
    _ = run(Server, fun() -> spawn(fun() -> take_all(File, WhenFull) end) end),
    wait(fun() -> run(Client, fun() -> stays_full(Node, 10) end) end),
    File.

%% The processes end bit by bit.
-spec free(file:filename()) -> ok.
free(File) ->
    ok = file:write_file(File, <<>>).

%% Takes whatever place there is, until the file is there.
take_all(File, WhenFull) ->
    try spawn_link(timer, sleep, [infinity]) of
        _ -> take_all(File, WhenFull)
    catch
        error:system_limit ->
            _ = WhenFull(),
            case file:read_file_info(File, [raw]) of
                {ok, _} -> exit(free);
                {error, enoent} -> receive after 5 -> take_all(File, fun() -> ok end) end
            end
    end.

%% What ran there when it was filled may still end and leave a place, for a moment.
stays_full(_Node, 0) ->
    true;
stays_full(Node, Times) ->
    receive after 10 -> ok end,
    gen_rpc:call(Node, erlang, node, []) =:= {badrpc, system_limit}
        andalso stays_full(Node, Times - 1).
