%% SPDX-License-Identifier: Apache-2.0
%% What can be the matter with a site, and how it is put right.
-module(gen_rpc_test_faults).

-export([names/0, inject/3]).

-type fault() :: killed | frozen | unplugged | link_down | deaf | mute.
-export_type([fault/0]).

%% `killed' is for those who know how the site is started.
-spec names() -> [fault()].
names() ->
    [killed, frozen, unplugged, link_down, deaf, mute].

%% Towards one other site, if it is something between two. Returns what heals it.
-spec inject(fault(), gen_rpc_test_site:t(), gen_rpc_test_net:site()) -> fun(() -> ok).
inject(frozen, Site, _Other) ->
    ok = gen_rpc_test_site:freeze(Site),
    fun() -> gen_rpc_test_site:thaw(Site) end;
inject(unplugged, #{site := I}, _Other) ->
    ok = gen_rpc_test_net:unplug(I),
    fun() -> gen_rpc_test_net:plug(I) end;
inject(link_down, #{site := I}, _Other) ->
    ok = gen_rpc_test_net:link_down(I),
    fun() -> gen_rpc_test_net:link_up(I) end;
inject(deaf, #{site := I}, Other) ->
    ok = gen_rpc_test_net:block(Other, I),
    fun() -> gen_rpc_test_net:unblock(Other, I) end;
inject(mute, #{site := I}, Other) ->
    ok = gen_rpc_test_net:block(I, Other),
    fun() -> gen_rpc_test_net:unblock(I, Other) end.
