%% SPDX-License-Identifier: Apache-2.0
%% Application callback. The settings are read and checked here, once: a wrong one stops the start.
-module(gen_rpc_app).

-behaviour(application).

-export([start/2, stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    ok = gen_rpc_log:start(),
    ok = gen_rpc_counters:start(),
    case gen_rpc_config:load(application:get_all_env(gen_rpc)) of
        ok ->
            case gen_rpc_sup:start_link() of
                {error, {shutdown, {failed_to_start_child, gen_rpc_tls, {tls, Reason}}}} ->
                    invalid(Reason);
                Result ->
                    Result
            end;
        {error, Reason} ->
            invalid(Reason)
    end.

invalid(Reason) ->
    gen_rpc_log:error(#{what => "invalid setting", reason => gen_rpc_config:format(Reason)}),
    ok = stop([]),
    {error, Reason}.

-spec stop(term()) -> ok.
stop(_State) ->
    ok = gen_rpc_config:unload(),
    ok = gen_rpc_counters:stop(),
    gen_rpc_log:stop().
